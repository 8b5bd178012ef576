"""Split: assign every patient of a dataset to training, validation or test.

    run(dataset=..., protocol=..., rule=..., cases=..., manifest=..., out=..., notes=...)

`rule` draws by the paper's rule; `reference` follows the published code's lists, which `lists`
fetches and checks; `counts` compares what is there with what the card says; `fractions` draws
parts of a training set. A patient is on one side only, whatever the number of images.
"""

from hermes.split.rule import SplitError
from hermes.split.stage import run

__all__ = ["SplitError", "run"]
