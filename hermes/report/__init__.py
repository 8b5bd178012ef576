"""Report: tables, statistics and pictures of a study."""
