"""`python -m hermes` is the command `hermes`."""

from hermes.cli import app

app()
