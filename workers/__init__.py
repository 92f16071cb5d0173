"""Background execution of tasks: the embedded in-process queue."""
