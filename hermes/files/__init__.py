"""What Hermes reads and writes, each file whole or not at all."""
