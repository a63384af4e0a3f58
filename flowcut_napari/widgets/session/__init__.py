"""What is open in a window, kept for the next one."""
