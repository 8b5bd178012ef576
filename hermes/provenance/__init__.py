"""Where a table's numbers come from: its sidecar read, printed, compared with what is there."""

from hermes.provenance.cell import cell_text
from hermes.provenance.check import check_text, compare
from hermes.provenance.record import ProvenanceError, Record, read
from hermes.provenance.text import told

__all__ = ["ProvenanceError", "Record", "cell_text", "check_text", "compare", "read", "told"]
