"""What an experiment gave: the trajectory, the slice where one was asked for, and sentences that sum it up."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscapes import QUANTITIES, Plane
from landscapes.alignment import Line
from landscapes.topology import topology
from optimizers import Counts, Study, Sweep, Trajectory
from ravine import stability
from ravine.connection import told
from ravine.cuts import Caption
from ravine.experiment import DTYPES, Experiment
from ravine.fingerprint import Fingerprint, Numbers, Track, digest
from ravine.outcome import divergence, lost
from ravine.provenance import Provenance, provenance
from ravine.reading import note, persistence, undecided
from ravine.verdict import verdict

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ravine.pictures import Pictures

Arrays = dict[str, NDArray[Any]]
_OF_THE_NUMBERS = ("digest", "fingerprint", "numbers")  # what a result finds out once, whatever it looks like


@dataclass(frozen=True)
class Result:
    """The numbers of one experiment; `done` of `total` pieces of work are in it."""

    experiment: Experiment
    trajectory: Trajectory = field(default_factory=Trajectory.nothing)
    plane: Plane | None = None
    others: tuple[Trajectory, ...] = ()  # of the runs laid over the first, each by itself
    flow: Trajectory | None = None  # gradient flow over the same time as the first run
    beside: tuple[Plane, ...] = ()  # other planes, to be seen next to the first
    captions: tuple[Caption, ...] = ()  # one for each plane
    lines: dict[str, Line] = field(default_factory=dict)  # between the solutions of a plane, by name
    # Does it believe what an earlier slice of the same plane found?
    recalled: bool = field(default=False, compare=False)
    done: int = 1
    total: int = 1
    phase: str = field(default="", compare=False)  # what was being worked on, for the progress bar
    table: Sweep | None = None
    study: Study | None = None
    # What computed it, and when; empty where that is not on record.
    provenance: Provenance = field(default_factory=provenance, compare=False)

    @property
    def complete(self) -> bool:
        return self.done >= self.total

    @property
    def visible(self) -> bool:
        """Is there something to see? The first points of an interpolated plane are none of its pixels."""
        return self.complete or self.plane is None or not bool(self.plane.loss.isnan().all())

    @cached_property
    def nbytes(self) -> int:
        """Memory held by the arrays, and by the pictures that came with them."""
        drawn = sum(map(len, vars(self).get("pictures", {}).values()))
        return drawn + sum(array.nbytes for array in self.arrays().values())

    def figure(self) -> Figure:
        """The experiment's picture as a Plotly figure."""
        from ravine.figures import draw  # Plotly takes a second to import, and most uses of a result draw nothing

        return draw(self)

    @cached_property
    def pictures(self) -> Pictures:
        """What a page shows of it."""
        from ravine.pictures import pictures  # draws by way of figures

        return pictures(self)

    def shown_by(self, pictures: Pictures) -> Result:
        """This result, whose pictures have been made already."""
        vars(self)["pictures"] = pictures
        return self

    def arrays(self) -> Arrays:
        """Every number by name: NumPy arrays, first dimension the recorded steps (or the grid of the slice)."""
        if self.study is not None:
            return {name: tensor.cpu().numpy() for name, tensor in self.study.tensors().items()}
        if self.table is not None:
            return _arrays_of_table(self.table)
        arrays = _tensors(self.trajectory)
        for number, path in enumerate(self.others, start=2):
            arrays |= _tensors(path, f"run{number}.")
        if self.flow is not None:
            arrays |= _tensors(self.flow, "flow.")
        for index, plane in enumerate(self.planes, start=1):
            kept = {one.name: getattr(plane, one.name) for one in fields(plane) if one.compare}
            arrays |= {
                f"{_plane_name(index)}.{name}": torch.as_tensor(one) for name, one in kept.items() if one is not None
            }
        for index, one in enumerate(self.lines.values(), start=1):
            arrays |= {f"line{index}.{name}": tensor for name, tensor in vars(one).items() if tensor is not None}
        written = (("captions", [asdict(one) for one in self.captions]), ("lines", list(self.lines)))
        texts = {name: np.array(json.dumps(what)) for name, what in written if what}
        return {name: tensor.cpu().numpy() for name, tensor in arrays.items()} | texts

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every number: what is kept beside a result is filed under it, since a file may hold any numbers."""
        return digest(self.arrays())

    def known_by(self, digest: str, fingerprint: Fingerprint) -> Result:
        """This result, whose digest and fingerprint have been taken already."""
        vars(self).update(digest=digest, fingerprint=fingerprint)
        return self

    def asked_as(self, experiment: Experiment) -> Result:
        """The same numbers as another experiment asks for them, which differs in looks alone: what is known of them stays known."""
        if experiment == self.experiment:
            return self
        result = replace(self, experiment=experiment)
        vars(result).update({name: one for name, one in vars(self).items() if name in _OF_THE_NUMBERS})
        return result

    @cached_property
    def numbers(self) -> Numbers:
        """What is compared with the same result of another machine."""
        losses = {
            name: array.astype(float)
            for name, array in sorted(self.arrays().items())
            if name.rpartition(".")[2] in ("loss", "final_loss") and array.dtype.kind == "f"
        }
        sampled = [array.ravel() for name, array in losses.items() if not name.endswith("final_loss")]
        tracks = _tracks(self)
        names = {"loss", *(f"run{number}.loss" for number in range(2, len(self.others) + 2))}
        rest = [array.ravel() for name, array in losses.items() if not (tracks and name in names)]
        return Numbers(
            self.digest,
            tracks,
            np.concatenate(rest) if rest else np.zeros(0),
            np.concatenate(sampled) if sampled else np.zeros(0),
        )

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Tells whether another machine got the same numbers."""
        return self.numbers.fingerprint

    @classmethod
    def of_study(cls, experiment: Experiment, study: Study, **progress: Any) -> Result:
        """The result that holds a study; its trajectory is the looks that were taken."""
        none = torch.zeros_like(study.step)
        trajectory = Trajectory(
            step=study.step,
            loss=study.along["loss"],
            grad_norm=study.along["grad_norm"],
            probes={},
            params=study.params[None],
            params_step=study.step[-1:],
            diverged_at=torch.tensor(study.diverged_at),
            evaluations=Counts(none, none, none),
        )
        return cls(experiment, trajectory, study=study, **progress)

    @classmethod
    def from_arrays(cls, experiment: Experiment, arrays: Arrays, made: Provenance | None = None) -> Result:
        """The inverse of `arrays`, of a result that was `made` so; by default now and here. Raises KeyError if one is missing."""
        made = provenance() if made is None else made
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind != "U"}
        if "sweep.known" in tensors:
            return cls(experiment, table=_table_of_tensors(tensors), provenance=made)
        if "study.step" in tensors:
            return cls.of_study(experiment, Study.from_tensors(tensors), provenance=made)
        count = len(experiment.runs) if experiment.view == "edge" else 1
        others = tuple(_path(tensors, f"run{number}.") for number in range(2, count + 1))
        flow = _path(tensors, "flow.") if experiment.view == "edge" and experiment.flow else None
        planes: list[Plane] = []
        while f"{(name := _plane_name(len(planes) + 1))}.loss" in tensors:
            kept = {
                one.name: tensors[f"{name}.{one.name}"]
                for one in fields(Plane)
                if one.compare and (one.default is not None or f"{name}.{one.name}" in tensors)
            }
            planes.append(Plane(**{key: one if one.ndim else one.item() for key, one in kept.items()}))  # type: ignore[arg-type]
        captions = json.loads(_text(arrays["captions"])) if planes else []
        names = json.loads(_text(arrays["lines"])) if "lines" in arrays else []
        return cls(
            experiment,
            _path(tensors),
            planes[0] if planes else None,
            others,
            flow,
            tuple(planes[1:]),
            tuple(
                Caption(one["title"], tuple(one["names"]), tuple(tuple(mark) for mark in one["marks"]))
                for one in captions
            ),
            {name: _line(tensors, f"line{index}.") for index, name in enumerate(names, start=1)},
            provenance=made,
        )

    @property
    def paths(self) -> tuple[Trajectory, ...]:
        """One trajectory for each of the experiment's runs on a network."""
        return self.trajectory, *self.others

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The plane that was asked for and those beside it; none before there is one."""
        return () if self.plane is None else (self.plane, *self.beside)

    def specification(self) -> dict[str, Any]:
        """The link, its values, what made the numbers, and their fingerprint once they are all there: enough to make them
        again, and to tell.
        """
        return {
            "link": self.experiment.to_url(),
            "values": self.experiment.to_query(),
            "complete": self.complete,
            "provenance": self.provenance,
            "fingerprint": self.fingerprint.write() if self.complete else "",
        }

    def save(self, path: str | Path) -> None:
        """Write a zip: every array as .npy, and specification.json. Raises ValueError for another file ending."""
        if Path(path).suffix != ".zip":
            raise ValueError(f"{str(path)!r} is not allowed: the file's name must end in .zip.")
        Path(path).write_bytes(self.packed())

    def packed(self) -> bytes:
        """The bytes of `save`."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("specification.json", json.dumps(self.specification(), indent=2))
            for name, array in self.arrays().items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        return buffer.getvalue()

    def summary(self) -> str:
        """The sentences in one breath; the first where there are many of one run; of many runs what they have in common."""
        if self.study is not None:
            return self.sentences()[0]
        if len(self.others) < 2:
            return " ".join(self.sentences())
        return stability.summary(self.experiment, self.paths)

    def sentences(self) -> list[str]:
        """The result in plain words."""
        match self.experiment.view:
            case "edge":
                return self._edge_sentences()
            case "slice":
                return [self._slice_sentence(), *([told(self.lines)] if self.lines else [])]
            case "sweep":
                return [self._sweep_sentence()]
            case "stepsize":
                assert self.study is not None
                return verdict(self.study, self.experiment.optimizers[0])
        return self._endings()

    def _endings(self) -> list[str]:
        """Where each run of a surface ended."""
        path = self.trajectory
        out = []
        for index, optimizer in enumerate(self.experiment.optimizers):
            died = int(path.diverged_at[index])
            x, y = (float(value) for value in path.params[-1, index])
            first, last = float(path.loss[0, index]), float(path.loss[-1, index])
            ending = divergence(died, first, last if self.complete else math.nan)
            out.append(f"{optimizer.title} {ending or f'ended at ({x:.4g}, {y:.4g}) with loss {last:.4g}'}.")
        return out

    def _edge_sentences(self) -> list[str]:
        """One for each run."""
        runs = self.experiment.runs
        told = [stability.sentence(self.experiment, run, path) for run, path in zip(runs, self.paths, strict=True)]
        told = [f"{run.label}: {one}" if run.label else one for run, one in zip(runs, told, strict=True)]
        return told if self.flow is None else [*told, stability.flow_sentence(self.flow)]

    def _slice_sentence(self) -> str:
        plane = self.plane
        if plane is None or bool(torch.isnan(plane.loss).all()):
            return "Nothing of the slice has been computed yet."
        name = QUANTITIES[self.experiment.quantity].label.lower()
        known = plane.loss[torch.isfinite(plane.loss)]
        missing = int((~torch.isfinite(plane.loss)).sum())
        span = f"runs from {float(known.min()):.4g} to {float(known.max()):.4g}" if len(known) else "is nowhere finite"
        lost = f" At {missing:,} of its points it is not finite." if missing and len(known) else ""
        if count := undecided(plane):
            lost += f" At {count:,} of its points {QUANTITIES[self.experiment.quantity].undecided}."
        coordinates, distance = plane.project(self.trajectory.params)
        within = (coordinates[0] @ plane.directions).norm()  # in the same units as the distance from the plane
        hidden = " This plane sees little of the path." if within < 0.1 * distance[0] else ""
        return (
            f"On this plane the {name} {span} ({note(plane)}).{lost} The path is a projection: its start lies "
            f"{float(distance[0]):.3g} away from the plane, and its foot {float(within):.3g} from the center on it.{hidden}"
            f"{self._topology_sentence(plane)}"
        )

    def _topology_sentence(self, plane: Plane) -> str:
        if self.experiment.drawing != "basins" or not self.complete:
            return ""
        found = topology(plane.loss, persistence(plane)).minima
        many = f"{len(found)} basins, joined at {len(found) - 1} saddles" if len(found) > 1 else "a single basin"
        edge = sum(one.at_edge for one in found)
        which = "Its minimum lies" if len(found) == 1 else f"{edge} of the minima lie{'s' if edge == 1 else ''}"
        cut = f" {which} on the edge of the picture and may go on beyond it." if edge else ""
        return (
            f" It has {many} of more than two per cent of its range.{cut} They are those of the slice: out of the plane the "
            "loss may fall further at such a minimum, and a way around such a saddle may exist."
        )

    @cached_property
    def first_loss(self) -> float:
        """The loss of all samples where a sweep's runs begin."""
        experiment = self.experiment
        land, start = experiment.landscape, experiment.start
        dtype = DTYPES[experiment.dtype]
        point = land.start(seed=experiment.seed, dtype=dtype)[0] if start is None else torch.tensor(start, dtype=dtype)
        return float(land.loss(point))

    def _sweep_sentence(self) -> str:
        table = self.table
        if table is None or not bool(table.known.any()):
            return "Nothing of the sweep has been computed yet."
        runs, gone = int(table.known.sum()), int((table.diverged_at >= 0).sum())
        higher = int((table.known & lost(table, self.first_loss)).sum()) - gone
        said = f"{gone + higher:,} of {runs:,} runs diverged"
        said += f", {higher:,} of them to a finite loss above that of the start." if higher else "."
        final = table.final_loss.flatten()
        if gone == runs:
            return said
        best = int(final.nan_to_num(nan=math.inf).argmin())
        place = [int(one) for one in torch.unravel_index(torch.tensor(best), table.final_loss.shape)]
        where = ", ".join(
            f"{name} = {float(values[index]):.4g}"
            for (name, values), index in zip(table.over.items(), place, strict=True)
        )
        return f"{said} The least final loss, {float(final[best]):.4g}, is at {where}."


def _tracks(result: Result) -> tuple[Track, ...]:
    """The runs of a result as far as another machine's are compared with them; none of a sweep or a look at a step size."""
    if result.table is not None or result.study is not None or not len(result.trajectory.step):
        return ()
    step = result.trajectory.step.cpu().numpy()
    if result.experiment.view != "edge":
        losses = result.trajectory.loss.cpu().double().reshape(len(step), -1).numpy()
        return tuple(Track(step, one) for one in losses.T)
    found = []
    for run, path in zip(result.experiment.runs, result.paths, strict=True):
        gauge = stability.telling(stability.gauges(result.experiment, run, path))
        known: dict[str, Any] = {}
        if gauge is not None and len(gauge.value):
            first = gauge.crossing
            known = {"crossing": -1 if first is None else int(gauge.step[first]), "late": gauge.judged(path).late}
        step, loss = path.step.cpu().numpy(), path.loss.cpu().double().numpy()
        found.append(Track(step, loss, every=result.experiment.every, **known))
    return tuple(found)


def _arrays_of_table(table: Sweep) -> Arrays:
    """sweep.final_loss and so on, and the values of each axis as over.1.lr, in order."""
    parts = {one.name: getattr(table, one.name) for one in fields(table) if one.name != "over"}
    tensors = {f"over.{index}.{name}": values for index, (name, values) in enumerate(table.over.items(), start=1)}
    tensors |= {f"sweep.{name}": one for name, one in parts.items() if one is not None}
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _table_of_tensors(tensors: dict[str, torch.Tensor]) -> Sweep:
    axes = sorted(name for name in tensors if name.startswith("over."))
    if len(axes) != tensors["sweep.known"].ndim:
        raise KeyError("over")
    parts: dict[str, Any] = {
        one.name: tensors[f"sweep.{one.name}"] for one in fields(Sweep) if one.name not in ("over", "sharpness")
    }
    return Sweep(
        {name.split(".", 2)[2]: tensors[name] for name in axes}, sharpness=tensors.get("sweep.sharpness"), **parts
    )


def _text(array: NDArray[Any]) -> str:
    """A text among the arrays; earlier versions wrote its bytes."""
    return str(array) if array.dtype.kind == "U" else bytes(array.tolist()).decode()


def _tensors(path: Trajectory, prefix: str = "") -> dict[str, Tensor]:
    """Every number of a trajectory by name."""
    names = ("step", "loss", "grad_norm", "params", "params_step", "diverged_at")
    named = {name: getattr(path, name) for name in names}
    named |= {f"evaluations.{name}": counts for name, counts in path.evaluations._asdict().items()}
    named |= {f"probes.{name}": values for name, values in path.probes.items()}
    return {f"{prefix}{name}": one for name, one in named.items()}


def _path(tensors: dict[str, Tensor], prefix: str = "") -> Trajectory:
    """The inverse of `_tensors`. Raises KeyError if one is missing."""
    own = f"{prefix}probes."
    return Trajectory(
        step=tensors[f"{prefix}step"],
        loss=tensors[f"{prefix}loss"],
        grad_norm=tensors[f"{prefix}grad_norm"],
        probes={name.removeprefix(own): one for name, one in tensors.items() if name.startswith(own)},
        params=tensors[f"{prefix}params"],
        params_step=tensors[f"{prefix}params_step"],
        diverged_at=tensors[f"{prefix}diverged_at"],
        evaluations=Counts(*(tensors[f"{prefix}evaluations.{name}"] for name in Counts._fields)),
    )


def _line(tensors: dict[str, Tensor], prefix: str) -> Line:
    """The inverse of what `arrays` makes of a line. Raises KeyError if its loss is missing."""
    return Line(tensors[f"{prefix}share"], tensors[f"{prefix}loss"], tensors.get(f"{prefix}accuracy"))


def _plane_name(index: int) -> str:
    return "plane" if index == 1 else f"plane{index}"
