"""Models on disk: immutable versions, the champion, what was decided about them and by whom, and how they are shown."""
