"""What people see of an audience before they plan: columns with their values, sizes, and how two audiences overlap."""
