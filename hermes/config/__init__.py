"""What `config/` says: cards, studies, runs, tables, resources; checked when read."""
