"""What others read: versions in a folder or an object store, what each table holds, and profiles."""
