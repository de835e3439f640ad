"""One training at work: weights, optimizer, carried state and counters, and the iteration that moves them on."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from storyteller.engine.model import GRULM
from storyteller.errors import CheckpointInvalid, ConfigInvalid
from storyteller.training.batches import Batches
from storyteller.training.config import Config
from storyteller.training.network import TrainingNetwork
from storyteller.training.optimizer import WeightAverage, make_optimizer
from storyteller.training.schedule import learning_rate
from storyteller.training.state import Progress, TrainerState

if TYPE_CHECKING:
    from accelerate import Accelerator

MOMENTS = ("exp_avg", "exp_avg_sq")
TRIAL_TOKENS = 4096
LONG_TRIAL = 3.0


class Session:
    """Moves on by :meth:`iterate`; :meth:`snapshot` and :meth:`restore` are exact inverses, on as many processes as before.

    The streams of the global batch are dealt to the processes in order, ``batch_size / processes`` to each.
    """

    def __init__(self, config: Config, model: GRULM, batches: Batches, end_id: int, accelerator: Accelerator) -> None:
        """Raises :class:`ConfigInvalid` if the streams cannot be dealt evenly to the processes."""
        processes, rank = accelerator.num_processes, accelerator.process_index
        if batches.batch_size % processes:
            raise ConfigInvalid(f"batch_size must be a multiple of the {processes} processes, not {batches.batch_size}")
        self.config = config
        self.batches = batches
        self.accelerator = accelerator
        self.progress = Progress()
        self.streams = batches.batch_size // processes
        self.rows = slice(rank * self.streams, (rank + 1) * self.streams)
        self.model = model.to(accelerator.device)
        network = TrainingNetwork(self.model, label_smoothing=config.label_smoothing, end_id=end_id if config.reset_at_end else None)
        optimizer = make_optimizer(network, learning_rate=config.learning_rate, weight_decay=config.weight_decay, beta2=config.beta2)
        self.network: nn.Module = accelerator.prepare(network)
        self.optimizer = accelerator.prepare(optimizer)
        self.named = dict(self.model.named_parameters())
        self.parameters = list(self.named.values())
        self.average = WeightAverage(self.named, config.ema_decay) if config.ema_decay else None
        self.state = self.model.initial_state(self.streams)
        self.network.train()

    def iterate(self) -> tuple[Tensor, Tensor]:
        """Read one batch and update the weights; returns nats per token of these streams, and the gradient's norm, on the device."""
        progress = self.progress
        batch = self.batches.batch(progress.iteration, self.rows)
        ids = torch.from_numpy(batch.ids).to(self.accelerator.device, non_blocking=True)
        targets = torch.from_numpy(batch.targets).to(self.accelerator.device, non_blocking=True)
        if batch.first:
            self.state = torch.zeros_like(self.state)
        rate = learning_rate(progress.iteration, self.config.learning_rate, self.config.warmup, progress.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nats = self._accumulate(ids, targets)
        norm = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.parameters, progress.iteration)
        progress.iteration += 1
        progress.tokens += batch.ids.shape[0] * self.batches.batch_size
        return nats, norm

    def _accumulate(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Forward and backward over the streams, in ``accumulate`` parts, gradients being exchanged with the last one."""
        parts = min(self.config.accumulate, self.streams)
        if parts == 1:
            nats, self.state = self._pass(ids, targets, self.state, 1.0)
            return nats
        total = torch.zeros((), device=ids.device)
        states = []
        pieces = zip(ids.tensor_split(parts, 1), targets.tensor_split(parts, 1), self.state.tensor_split(parts, 1), strict=True)
        for number, (some_ids, some_targets, state) in enumerate(pieces):
            share = some_ids.shape[1] / self.streams
            if number < parts - 1:
                with self.accelerator.no_sync(self.network):
                    nats, state = self._pass(some_ids, some_targets, state, share)
            else:
                nats, state = self._pass(some_ids, some_targets, state, share)
            total += nats * share
            states.append(state)
        self.state = torch.cat(states, 1)
        return total

    def _pass(self, ids: Tensor, targets: Tensor, state: Tensor, share: float) -> tuple[Tensor, Tensor]:
        with self.accelerator.autocast():
            loss, nats, state = self.network(ids.contiguous(), targets.contiguous(), state.contiguous())
        self.accelerator.backward(loss * share if share != 1.0 else loss)
        return nats, state.detach().float()

    def _clip(self) -> Tensor:
        longest = self.config.grad_clip or float("inf")
        norm: Tensor = self.accelerator.clip_grad_norm_(self.parameters, longest)
        return norm

    def trial_seconds(self) -> float:
        """How long an iteration will take, from at most three of which nothing remains; on a CPU with some of the streams only."""
        device = self.accelerator.device
        batch = self.batches.batch(self.progress.iteration, self.rows)
        streams = self.streams if device.type != "cpu" else min(self.streams, max(1, TRIAL_TOKENS // self.batches.seq_len))
        ids, targets = (torch.from_numpy(array[:, :streams]).to(device).contiguous() for array in (batch.ids, batch.targets))
        seconds = math.inf
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), self.accelerator.no_sync(self.network):
            for _ in range(3):
                begun = time.monotonic()
                nats, _ = self._pass(ids, targets, self.state[:, :streams].contiguous(), 1.0)
                float(nats + sum(parameter.grad.sum() for parameter in self.parameters if parameter.grad is not None))
                seconds = min(seconds, time.monotonic() - begun)
                if seconds > LONG_TRIAL:
                    break
        self.optimizer.zero_grad(set_to_none=True)
        return float(seconds * self.streams / streams)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The averaged weights in the place of the last ones, while it is entered."""
        if self.average is None:
            raise ValueError("this training keeps no average")
        last = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(list[Tensor](self.parameters), list(self.average.weights.values()))
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(list[Tensor](self.parameters), last)

    def mean(self, value: Tensor) -> float:
        """The mean of ``value`` over the processes."""
        if self.accelerator.num_processes > 1:
            value = self.accelerator.reduce(value.detach().clone(), "mean")
        return float(value)

    def agreed(self, yes: bool) -> bool:
        """What the main process says: processes that parted ways would wait for each other for ever."""
        return bool(self.from_main(yes))

    def from_main(self, value: float) -> float:
        """``value`` as the main process has it."""
        if self.accelerator.num_processes == 1:
            return value
        mine = value if self.accelerator.is_main_process else 0.0
        dtype = torch.float32 if self.accelerator.device.type == "mps" else torch.float64
        return float(self.accelerator.reduce(torch.tensor(mine, dtype=dtype, device=self.accelerator.device), "sum"))

    def snapshot(self, settings: Mapping[str, Any], corpus_key: str) -> TrainerState:
        """Everything that decides how the training goes on; all processes must call it."""
        gather = self.accelerator.gather
        tensors: dict[str, Tensor] = {
            "state": gather(self.state.transpose(0, 1).contiguous()).transpose(0, 1),
            "random/cpu": gather(torch.get_rng_state()[None].to(self.accelerator.device)),
        }
        if self.accelerator.device.type == "cuda":
            tensors["random/cuda"] = gather(torch.cuda.get_rng_state(self.accelerator.device)[None].to(self.accelerator.device))
        for name, parameter in self.named.items():
            tensors[f"weights/{name}"] = parameter
            moments = self.optimizer.state.get(parameter, {})
            for key in moments:
                tensors[f"adam/{key}/{name}"] = moments[key]
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.weights.items()}
        scaler = self.accelerator.scaler
        return TrainerState(
            tensors=tensors,
            progress=self.progress,
            settings=settings,
            corpus_key=corpus_key,
            processes=self.accelerator.num_processes,
            scaler=scaler.state_dict() if scaler is not None else {},
        )

    @torch.no_grad()
    def restore(self, saved: TrainerState) -> None:
        """Go back to what was saved; raises :class:`CheckpointInvalid` if it does not fit."""
        tensors, rank, device = saved.tensors, self.accelerator.process_index, self.accelerator.device
        try:
            for name, parameter in self.named.items():
                parameter.copy_(tensors[f"weights/{name}"])
                keys = [key for key in ("step", *MOMENTS) if f"adam/{key}/{name}" in tensors]
                if keys:
                    # A fused AdamW counts its steps on the device, any other on the CPU.
                    counts_on = device if self.optimizer.param_groups[0]["fused"] else "cpu"
                    self.optimizer.state[parameter] = {
                        key: tensors[f"adam/{key}/{name}"].clone().to(counts_on if key == "step" else device) for key in keys
                    }
            if self.average is not None:
                for name, average in self.average.weights.items():
                    average.copy_(tensors[f"average/{name}"])
            self.state = tensors["state"][:, self.rows].contiguous().to(device)
            torch.set_rng_state(tensors["random/cpu"][rank].clone())
            if device.type == "cuda" and "random/cuda" in tensors:
                torch.cuda.set_rng_state(tensors["random/cuda"][rank].clone(), device)
        except (KeyError, RuntimeError, IndexError) as error:
            raise CheckpointInvalid(f"the saved training does not fit this one: {error}") from error
        if self.accelerator.scaler is not None and saved.scaler:
            self.accelerator.scaler.load_state_dict(dict(saved.scaler))
        self.progress = saved.progress
