"""Models on disk: immutable versions, the champion, the decisions about them, and their text for the command line."""
