"""The training itself, as a stream of events; whoever reads them decides what is shown."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from storyteller.checkpoint.format import WEIGHTS, begin_checkpoint, read_checkpoint, seal, unseal
from storyteller.checkpoint.weights import save_weights
from storyteller.engine.model import GRULM
from storyteller.engine.params import SamplingParams
from storyteller.errors import ConfigInvalid, StorytellerError
from storyteller.training.batches import Batches
from storyteller.training.beginning import fitting_batch_size, initial_checkpoint, network_shape, output_directory, settle
from storyteller.training.card import training_record, write_card, write_record
from storyteller.training.config import Config
from storyteller.training.corpus import EncodedCorpus
from storyteller.training.corpus import Progress as CorpusProgress
from storyteller.training.data import load_corpus
from storyteller.training.devices import auto_preset, open_device
from storyteller.training.events import EndReason, Evaluated, Finished, Iterated, Noted, Planned, Sampled, Saved, TrainEvent, TrainResult
from storyteller.training.interrupt import Interrupt
from storyteller.training.journal import Journal
from storyteller.training.lines import LineWriter, settings_line
from storyteller.training.samples import tell_samples
from storyteller.training.schedule import FIXED_AT, learning_rate, total_by_time
from storyteller.training.session import Session
from storyteller.training.state import TrainerState, save_trainer
from storyteller.training.validation import HeldOut, Score

if TYPE_CHECKING:
    from accelerate import Accelerator

Events = Generator[TrainEvent, None, None]

SPEED_FROM = 10
GPU_INTERVAL = 10
LARGEST_RESERVE = 0.2


def train_events(
    config: Config | None = None,
    *,
    corpus: EncodedCorpus | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: CorpusProgress | None = None,
    dry_run: bool = False,
) -> Events:
    """Train, yielding what happens: :class:`Planned` first (after notes), :class:`Finished` last.

    Without ``config`` the last one that was made or changed is used. ``corpus`` takes the place of the data that ``config`` names;
    ``progress`` hears how far its preparation is. ``stop`` is asked between iterations; when it says yes, everything is saved and the
    training ends with the reason "stopped". ``close()`` does the same in a training of one process. ``dry_run`` ends with the plan.

    Raises :class:`ConfigInvalid` for settings that make no sense together, what :func:`~storyteller.training.corpus.prepare` raises for
    the data, :class:`CheckpointInvalid` for a damaged training to resume, :class:`StorytellerError` when the loss is no number any more.
    """
    config, saved = settle(config or Config.last() or Config())
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    accelerator = open_device(config.device, config.precision)
    begun_from = initial_checkpoint(config, saved)
    with accelerator.main_process_first():
        corpus = corpus or load_corpus(config, begun_from.tokenizer if begun_from is not None and config.init_from is not None else None, progress)
    if saved is not None and saved.corpus_key != corpus.key:
        raise ConfigInvalid("the data is not that which the training began with", "--init-from DIR --out OTHER begins a new one")
    if saved is not None and saved.processes != accelerator.num_processes:
        raise ConfigInvalid(f"the training runs on {saved.processes} processes, not on {accelerator.num_processes}")
    architecture = network_shape(config, corpus.tokenizer, begun_from)
    batch_size = fitting_batch_size(config.batch_size, config.seq_len, len(corpus.train), accelerator.num_processes)
    batches = Batches(corpus.train, corpus.tokenizer.end_id, batch_size=batch_size, seq_len=config.seq_len, seed=config.seed)
    torch.manual_seed(config.seed)
    model = GRULM(architecture)
    if begun_from is not None and saved is None:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in begun_from.weights().items()}, strict=False)
    # Weights are the same in every process, dropout is not.
    torch.manual_seed((config.seed + accelerator.process_index) % 2**63)
    session = Session(config, model, batches, corpus.tokenizer.end_id, accelerator)
    if saved is not None:
        session.restore(saved)
    else:
        session.progress.total = config.total_iterations(batches.per_epoch)
        session.progress.total_fixed = config.time_limit is None
    trainer = Trainer(config, corpus, session, saved is not None)
    yield trainer.plan()
    if not dry_run:
        yield from trainer.run(stop)


class Trainer:
    """One training in one directory. Every process of a distributed training has one; the main process alone writes."""

    def __init__(self, config: Config, corpus: EncodedCorpus, session: Session, resumed: bool) -> None:
        self.config = config
        self.corpus = corpus
        self.session = session
        self.progress = session.progress
        self.accelerator: Accelerator = session.accelerator
        self.architecture = session.model.config
        self.resumed = resumed
        self.out = output_directory(config)
        self.held_out = HeldOut(corpus.valid, corpus.tokenizer, seed=config.seed)
        self.journal = Journal(self.out)
        self.interval = 1 if self.accelerator.device.type == "cpu" else GPU_INTERVAL
        self.started = time.monotonic()
        self.seconds_before = self.progress.seconds
        self.aside = 0.0
        self.evaluation_seconds = 0.0
        self.scoring_seconds = 0.0
        self.last_save = self.started
        self.mark: tuple[int, float] | None = None
        self.last_norm: float | None = None
        self.last_speed: float | None = None
        self.figures: dict[str, Any] = {}

    def plan(self) -> Planned:
        """What is going to happen; a fresh training tries a few iterations to tell how long it will take."""
        per_iteration = None if self.resumed else self.session.trial_seconds()
        total, done = self.progress.total, self.progress.iteration
        expected = self.config.time_limit
        if per_iteration is not None and total is not None:
            expected = min(expected or math.inf, (total - done) * per_iteration)
        notes = [str(note) for note in self.corpus.report.notes]
        if self.session.batches.batch_size != self.config.batch_size:
            notes.append(
                f"the corpus is small: {self.session.batches.batch_size} streams are read side by side, not {self.config.batch_size}"
            )
        if self.architecture.vocab_size < self.config.vocab_size and self.config.init_from is None:
            notes.append(f"the corpus has words for {self.architecture.vocab_size:,} tokens, not {self.config.vocab_size:,}")
        return Planned(
            out=self.out,
            parameters=self.architecture.parameters,
            vocab_size=self.architecture.vocab_size,
            train_tokens=len(self.corpus.train) - 1,
            train_stories=self.corpus.train_counts.stories,
            valid_stories=len(self.held_out),
            tokens_per_iteration=self.session.batches.batch_size * self.config.seq_len,
            iterations_per_epoch=self.session.batches.per_epoch,
            total=total,
            first_iteration=done,
            seconds_expected=expected,
            settings=self.config.to_dict(),
            notes=tuple(notes),
            **self._machine(),
        )

    def run(self, stop: Callable[[], bool]) -> Events:
        """Train to the end, or until ``stop``."""
        self.started = self.last_save = time.monotonic()
        if self.accelerator.is_main_process:
            self._open_directory()
        if self.progress.done is not None:
            yield Noted(message=f"this training is complete ({self.progress.done})")
            yield from self._finish()
            return
        try:
            yield from self._loop(stop)
        except GeneratorExit:
            if self.accelerator.num_processes == 1:
                self.journal.close()
                self._save()
            raise

    def _loop(self, stop: Callable[[], bool]) -> Events:
        pending: list[torch.Tensor] = []
        timed = (self.progress.tokens, self._seconds())
        while True:
            done = self.progress.iteration
            reason = self._reason()
            if self.progress.evaluated != done and (reason is not None or done % self.config.eval_every == 0):
                yield from self._evaluate()
                reason = self._reason()
                timed = (self.progress.tokens, self._seconds())
            if reason is not None:
                self.progress.done = reason
                yield self._save()
                yield from self._finish()
                return
            if self._agreed(stop()):
                self.journal.close()
                yield self._save()
                yield Finished(result=self._result("stopped", None))
                return
            if self._agreed(time.monotonic() - self.last_save >= self.config.save_every) or (done == 0 and not self.resumed):
                yield self._save()
                timed = (self.progress.tokens, self._seconds())
            for _ in range(self._until_sync()):
                nats, norm = self.session.iterate()
                pending.append(nats)
            loss = self.session.mean(torch.stack(pending).double().mean() if len(pending) > 1 else pending[0])
            self._check(loss)
            self.progress.loss_sum += loss * len(pending)
            self.progress.loss_count += len(pending)
            pending.clear()
            self.last_norm = float(norm)
            now = self._seconds()
            self.last_speed = (self.progress.tokens - timed[0]) / max(now - timed[1], 1e-9)
            timed = (self.progress.tokens, now)
            self._fix_total()
            yield self._iterated(loss, now)

    def _until_sync(self) -> int:
        """Iterations until somebody must look at the numbers: a GPU is not made to wait at each one."""
        done = self.progress.iteration
        marks = [self.interval - done % self.interval, self.config.eval_every - done % self.config.eval_every]
        marks += [mark - done for mark in (SPEED_FROM, FIXED_AT, self.progress.total or 0) if mark > done]
        return min(marks)

    def _reason(self) -> EndReason | None:
        done, total, patience = self.progress.iteration, self.progress.total, self.config.patience
        if total is not None and done >= total:
            return "complete"
        if patience and self.progress.evaluations_since_best >= patience:
            return "no improvement"
        limit = self.config.time_limit
        if limit is not None and self._agreed(self._seconds() >= limit - self._reserve(limit)):
            return "time limit"
        return None

    def _reserve(self, limit: float) -> float:
        """Seconds that the last evaluation will take, of all held-out stories by the best weights."""
        read = min(self.config.eval_stories, len(self.held_out))
        times = len(self.held_out) / read if read else 0.0
        return min(self.scoring_seconds * times, LARGEST_RESERVE * limit)

    def _fix_total(self) -> None:
        """Under a time limit: decide, once, how many iterations there will be."""
        limit, done = self.config.time_limit, self.progress.iteration
        if limit is None or self.progress.total_fixed:
            return
        if self.mark is None and done >= SPEED_FROM:
            self.mark = (done, self._seconds() - self.aside)
        if done < FIXED_AT or self.mark is None:
            return
        iterations = max(1, done - self.mark[0])
        each = (self._seconds() - self.aside - self.mark[1]) / iterations + self.evaluation_seconds / self.config.eval_every
        by_time = total_by_time(done, self._seconds(), limit - self._reserve(limit), max(each, 1e-6))
        by_time = int(self._from_main(by_time))
        self.progress.total = by_time if self.progress.total is None else min(by_time, self.progress.total)
        self.progress.total_fixed = True

    def _evaluate(self) -> Events:
        begun = time.monotonic()
        progress, model = self.progress, self.session.model
        most = self.config.eval_stories
        last = self._score(most)
        self.scoring_seconds = time.monotonic() - begun
        averaged = None
        if self.session.average is not None and progress.iteration:
            with self.session.averaged_weights():
                averaged = self._score(most)
        use_average = averaged is not None and last is not None and averaged.nats < last.nats
        score = averaged if use_average else last
        better = score is None or (math.isfinite(score.nats) and (progress.best_nats is None or score.nats_per_token < progress.best_nats))
        if better:
            progress.best_nats = None if score is None else score.nats_per_token
            progress.best_iteration, progress.best_averaged = progress.iteration, use_average
            progress.evaluations_since_best = 0
            if self.accelerator.is_main_process:
                self._save_best(use_average)
        else:
            progress.evaluations_since_best += 1
        train_loss = progress.loss_sum / progress.loss_count if progress.loss_count else None
        progress.loss_sum, progress.loss_count = 0.0, 0
        progress.evaluated = progress.iteration
        evaluated = self._evaluated(score, last, averaged, averaged_is=use_average, best=better, train_loss=train_loss)
        self.journal.take(evaluated)
        yield evaluated
        every = self.config.sample_every
        if every and self.config.sample_prompts and (progress.iteration // self.config.eval_every) % every == 0:
            if self.accelerator.is_main_process:
                told = tell_samples(model, self.corpus.tokenizer, self.config.sample_prompts, self.config.seed)
                sampled = Sampled(iteration=progress.iteration, samples=told)
                self.journal.take(sampled)
                yield sampled
        if self.accelerator.is_main_process:
            self.journal.close()
            self._describe()
        spent = time.monotonic() - begun
        self.aside += spent
        self.evaluation_seconds = spent

    def _finish(self) -> Events:
        """Score the best weights on all held-out stories, describe the model and seal it."""
        best = read_checkpoint_weights(self.out, self.accelerator)
        self.session.model.load_state_dict(best, strict=False)
        score = self._score(None)
        reason: EndReason = self.progress.done  # type: ignore[assignment]  # set before by _reason
        self.progress.seconds = self._seconds()
        event = self._evaluated(score, None, None, averaged_is=self.progress.best_averaged, best=True, train_loss=None, final=True)
        if self.accelerator.is_main_process:
            self.journal.take(event)
            self.journal.close()
            self._describe(score)
            seal(self.out)
        yield event
        yield Finished(result=self._result(reason, score))

    def _score(self, most: int | None) -> Score | None:
        return self.held_out.score(self.session.model, self.accelerator, most) if len(self.held_out) else None

    def _save_best(self, averaged: bool) -> None:
        source = self.session.average.weights if averaged and self.session.average is not None else self.session.named
        weights = {name: tensor.detach().float().cpu().numpy() for name, tensor in source.items()}
        save_weights(self.out / WEIGHTS, weights, self.architecture.shapes())

    def _save(self) -> Saved:
        begun = time.monotonic()
        self.progress.seconds = self._seconds()
        state: TrainerState = self.session.snapshot(self.config.to_dict(), self.corpus.key)
        if self.accelerator.is_main_process:
            save_trainer(self.out, state)
        self.last_save = time.monotonic()
        self.aside += self.last_save - begun
        return Saved(iteration=self.progress.iteration, path=self.out)

    def _open_directory(self) -> None:
        if self.resumed:
            unseal(self.out)
        else:
            begin_checkpoint(self.out, self.architecture, self.corpus.tokenizer, SamplingParams())
        self.journal.begin(self.progress.iteration)

    def _describe(self, score: Score | None = None) -> None:
        figures: dict[str, Any] = {
            "iterations": self.progress.iteration,
            "tokens": self.progress.tokens,
            "seconds": round(self._seconds(), 1),
            "best_iteration": self.progress.best_iteration,
            "best_averaged": self.progress.best_averaged,
            "nats_per_token": self.progress.best_nats if score is None else score.nats_per_token,
        }
        if score is not None:
            figures |= {"perplexity": score.perplexity, "bits_per_byte": score.bits_per_byte, "stories": score.stories}
        record = training_record(self.config.to_dict() | self.architecture.to_dict(), self.corpus, figures, self._machine())
        write_record(self.out, record)
        write_card(self.out, self.architecture, record)

    def _machine(self) -> dict[str, Any]:
        mixed = self.accelerator.mixed_precision
        return {
            "device": str(self.accelerator.device),
            "precision": "float32" if mixed == "no" else mixed,
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
        }

    def _result(self, reason: EndReason, score: Score | None) -> TrainResult:
        return TrainResult(
            path=self.out,
            reason=reason,
            iterations=self.progress.iteration,
            tokens=self.progress.tokens,
            seconds=self._seconds(),
            best_iteration=self.progress.best_iteration,
            nats_per_token=None if score is None else score.nats_per_token,
            perplexity=None if score is None else score.perplexity,
            bits_per_byte=None if score is None else score.bits_per_byte,
        )

    def _evaluated(
        self,
        score: Score | None,
        last: Score | None,
        average: Score | None,
        *,
        averaged_is: bool,
        best: bool,
        train_loss: float | None,
        final: bool = False,
    ) -> Evaluated:
        return Evaluated(
            iteration=self.progress.iteration,
            tokens=self.progress.tokens,
            seconds=self._seconds(),
            train_loss=train_loss,
            nats_per_token=None if score is None else score.nats_per_token,
            perplexity=None if score is None else score.perplexity,
            bits_per_byte=None if score is None else score.bits_per_byte,
            last_nats_per_token=None if last is None else last.nats_per_token,
            average_nats_per_token=None if average is None else average.nats_per_token,
            averaged=averaged_is,
            best=best,
            final=final,
            stories=0 if score is None else score.stories,
            learning_rate=self._rate(),
            grad_norm=self.last_norm,
            tokens_per_second=self.last_speed,
        )

    def _iterated(self, loss: float, seconds: float) -> Iterated:
        return Iterated(
            iteration=self.progress.iteration,
            total=self.progress.total,
            epoch=self.progress.iteration / self.session.batches.per_epoch,
            tokens=self.progress.tokens,
            seconds=seconds,
            loss=loss,
            learning_rate=self._rate(),
            grad_norm=self.last_norm or 0.0,
            tokens_per_second=self.last_speed or 0.0,
        )

    def _rate(self) -> float:
        """The learning rate of the last iteration."""
        return learning_rate(max(0, self.progress.iteration - 1), self.config.learning_rate, self.config.warmup, self.progress.total)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise StorytellerError(
                f"the loss is no number any more at iteration {self.progress.iteration}: the learning rate is too high for this network",
                f"--learning-rate {self.config.learning_rate / 3:.2g}; what was saved before is in {self.out}",
            )

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _agreed(self, yes: bool) -> bool:
        """What the main process says: processes that part ways would wait for each other for ever."""
        return yes if self.accelerator.num_processes == 1 else bool(self._from_main(float(yes)))

    def _from_main(self, value: float) -> float:
        if self.accelerator.num_processes == 1:
            return value
        mine = torch.tensor(value if self.accelerator.is_main_process else 0.0, dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.reduce(mine, "sum"))


def read_checkpoint_weights(folder: Path, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """The weights of the model in ``folder``, once the main process has written them."""
    accelerator.wait_for_everyone()
    return {name: torch.from_numpy(array) for name, array in read_checkpoint(folder).weights().items()}


def train(config: Config | None = None, *, corpus: EncodedCorpus | None = None) -> TrainResult:
    """Train to the end with plain lines of progress on stderr; see :func:`train_events`.

    A bare ``train()`` trains with the :class:`Config` that was made or changed last and prints the settings that it uses.
    Ctrl-C or SIGTERM saves, ends the training and raises KeyboardInterrupt; a second one stops at once.
    """
    config = config or Config.last() or Config(preset=auto_preset())
    writer = LineWriter()
    result = None
    with Interrupt() as interrupt:
        for event in train_events(config, corpus=corpus, stop=interrupt.requested):
            settings = [settings_line(event)] if isinstance(event, Planned) else []
            for line in [*settings, *writer.lines(event)]:
                sys.stderr.write(line + "\n")
            if isinstance(event, Finished):
                result = event.result
    if interrupt.requested():
        raise KeyboardInterrupt
    if result is None:
        raise StorytellerError("the training ended without a result")
    return result
