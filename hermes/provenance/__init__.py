"""Where a table's numbers come from: its sidecar written, read, printed, compared with files."""
