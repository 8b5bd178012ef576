"""Training by several processes, and by parts of a batch: what crosses from one part to another.

`torchrun` starts the processes; each finds its place in the environment. A loss that is a formula
on sums over single images needs nothing of this. One that adds up sums of several images before it
takes a ratio calls `gather_batch` on its table, and is then computed of the whole batch by every
part, with the gradient of the part's own rows; gradients of all parts are added up.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hermes.jobs.precision import choose_device

Gather = Callable[[Tensor], Tensor]

_gather: Gather | None = None


def gather_batch(rows: Tensor) -> Tensor:
    """Rows of the whole batch from those of this part, (b, ...) -> (B, ...).

    Only the part's own rows carry a gradient. All parts must call it alike, with tables that differ
    in nothing but their values, of numbers (not booleans). Outside of training, and where the batch
    is worked on as one, it gives its argument back.
    """
    return rows if _gather is None else _gather(rows)


@contextmanager
def gathering(gather: Gather | None) -> Iterator[None]:
    """Within the block, `gather_batch` is this function; None: its argument is the whole batch."""
    global _gather  # noqa: PLW0603  (losses are called by methods, who know nothing of processes)
    before, _gather = _gather, gather
    try:
        yield
    finally:
        _gather = before


def live(whole: Tensor, own: Tensor, first: int) -> Tensor:
    """The whole batch's rows, those from `first` on replaced by the part's own."""
    return torch.cat([whole[:first], own, whole[first + len(own) :]])


@dataclass(frozen=True)
class Ranks:
    """The processes of one training.

    Attributes:
        rank: number of this process, from 0; only the first one writes.
        count: number of processes.
        device: of this process.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes, in the order of their numbers, without a gradient."""
        rows = rows.detach().contiguous()
        if self.count == 1:
            return rows
        whole = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(whole, rows)
        return torch.cat(whole)

    def add_up(self, value: Tensor) -> Tensor:
        """The sum over the processes, written to `value`; the same bits in each of them."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; waits for all of them, but for no GPU."""
        if self.count == 1:
            return flag
        told = torch.tensor(int(flag))
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return bool(told)

    def agree(self, number: int, what: str) -> None:
        """Raises RuntimeError unless all processes hold the same number."""
        found = self.gather(torch.tensor([number])).tolist()
        if len(set(found)) > 1:
            raise RuntimeError(
                f"the processes of this training differ in {what}: {found}; they must see the same "
                "files, so on several machines the folder must be a shared one"
            )

    def sharing(self, module: nn.Module) -> nn.Module:
        """The module, wrapped so that a backward pass adds up gradients over the processes.

        Sums and not means, since losses are weighed by their share of the whole batch. With
        `find_unused_parameters`, a decoder that no process used is left without a gradient, as in
        training alone; and buckets stay as they are from the first step on, so that a training that
        goes on from a saved state adds up in the same order.
        """
        if self.count == 1:
            return module
        shared = DistributedDataParallel(
            module, find_unused_parameters=True, gradient_as_bucket_view=True
        )
        shared.register_comm_hook(None, _sum_bucket)
        return shared


def _sum_bucket(_: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process's place among those that torchrun started; alone where it started none.

    Args:
        device: `auto`, `cpu`, `cuda`; of several processes, each takes the GPU of its number on
            its machine.

    Raises ValueError: fewer GPUs than processes, or a single GPU named for several.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    where = choose_device(device)
    if count == 1:
        yield Ranks(0, 1, where)
        return
    if where.type == "cuda":
        where = _own_gpu(where, int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    with _group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"):
        yield Ranks(dist.get_rank(), dist.get_world_size(), where)


@contextmanager
def _group(backend: str) -> Iterator[None]:
    """The group of processes; one that is there already is used and left.

    Beside NCCL for GPUs there is gloo for what is agreed on, so that nobody waits for a GPU.
    """
    if dist.is_initialized():
        yield
        return
    dist.init_process_group(backend)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _own_gpu(asked: torch.device, number: int) -> torch.device:
    if asked != torch.device("cuda"):
        raise ValueError(f"device {asked} is one GPU, and several processes train: say cuda")
    if number >= torch.cuda.device_count():
        raise ValueError(
            f"process {number} of this machine has no GPU, which has {torch.cuda.device_count()}; "
            "start as many processes as GPUs"
        )
    return torch.device("cuda", number)
