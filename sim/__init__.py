"""Running a design and comparing it with its golden model."""
