"""Published versions in a folder or an object store, the declarations of their tables, and customer profiles."""
