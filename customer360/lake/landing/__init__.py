"""What producers wrote: folders and object stores, the click contract, and how a file is read, checked and described."""
