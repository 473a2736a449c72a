"""Images in a folder: one subfolder per class, or a training and a held-out part of such."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from clado_core.data.pictures import readable_suffixes
from clado_core.errors import InputError

logger = logging.getLogger(__name__)

TRAINING = ("train", "training")
HELD_OUT = ("test", "testing", "val", "validation", "valid")
"""Names of parts, in any case of letters; the first that is there and has class folders is taken.

Where there are both test and val, test is held out: val may have chosen the weights.
"""

NAMED_AT_MOST = 10


class FolderImages(NamedTuple):
    """Images of a folder, training images first, each part by class and then by path.

    Args:
        files: Where they lie.
        labels: Class indices, shape (N,).
        class_names: Index → name of the class folder, sorted.
        n_train: How many are training images; None where the folder has no split.
    """

    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    n_train: int | None


class _Listing(NamedTuple):
    """What a class folder holds: images, sorted, and how many files of each other suffix."""

    images: list[Path]
    unread: Counter[str]


_Classes: TypeAlias = dict[str, _Listing]


def find_images(folder: Path, spec: str, /) -> FolderImages:
    """List a folder's images with their classes.

    Hidden folders, and those whose names start with two underscores, are no classes, nor are those
    without images; a warning names what was left out.

    Args:
        folder: Holds one subfolder per class, or a training part (``train``) and a held-out part
            (``test``, or ``val`` or ``validation``) that do, with the same classes.
        spec: How the user calls it.

    Raises:
        InputError: There are no images, parts do not fit together, or a folder cannot be listed.
    """
    try:
        parts = _parts(folder, spec)
        listings = [_classes(part) for part in parts]
    except OSError as problem:
        raise InputError(f"The folder {spec} cannot be listed: {problem}.") from None
    names = _class_names(parts, listings, spec)
    _tell_what_is_left_out(folder, parts, listings, spec)
    images = [[classes[name].images for name in names] for classes in listings]
    counts = [len(of_class) for part in images for of_class in part]
    return FolderImages(
        tuple(file for part in images for of_class in part for file in of_class),
        np.repeat(np.tile(np.arange(len(names), dtype=np.int64), len(parts)), counts),
        names,
        sum(map(len, images[0])) if len(parts) > 1 else None,
    )


def _parts(folder: Path, spec: str) -> list[Path]:
    """The training and the held-out part, or the folder itself where it has no such parts."""
    found = {sub.name.lower(): sub for sub in _subfolders(folder)}
    pair = [[found[name] for name in kind if name in found] for kind in (TRAINING, HELD_OUT)]
    split = [[part for part in kind if _holds_classes(part)] for kind in pair]
    if all(split):
        return [kind[0] for kind in split]
    # "train" alone may be a class: the vehicle.
    known = {part for kind in pair for part in kind}
    looks_split = all(pair) or any(split)
    if not looks_split or any(_holds_images(sub) for sub in found.values() if sub not in known):
        return [folder]
    whole = [part for kind in (*split, sorted(known)) for part in kind]
    raise InputError(
        f"The folder {spec} looks like a data set with splits "
        f"({_listed(sorted(part.name for part in known))}), but needs a training part (train) and "
        "a held-out part (test or val), each with one subfolder per class: complete it, or give "
        f"such a part by itself, {Path(spec) / whole[0].name}."
    )


def _class_names(parts: list[Path], listings: list[_Classes], spec: str) -> tuple[str, ...]:
    """Those of folders with images, which must be the same in both parts."""
    names = [{name for name, found in classes.items() if found.images} for classes in listings]
    if not names[0]:
        unread = sum((found.unread for found in listings[0].values()), Counter[str]())
        instead = f" (only {_counts(unread)})" if unread else ""
        raise InputError(
            f"The folder {spec} holds no images in subfolders{instead}: expected one subfolder "
            f"per class with {', '.join(sorted(readable_suffixes()))} files."
        )
    only = [
        f"only {part.name} has {_listed(sorted(own - other))}"
        for part, own, other in zip(parts, names, reversed(names), strict=True)
        if own - other
    ]
    if only:
        raise InputError(
            f"The parts {' and '.join(part.name for part in parts)} of {spec} must have images of "
            f"the same classes, but {' and '.join(only)}; rename, fill or take out those folders."
        )
    return tuple(sorted(names[0]))


def _tell_what_is_left_out(
    folder: Path, parts: list[Path], listings: list[_Classes], spec: str
) -> None:
    inner = zip(parts, listings, strict=True)
    empty = [part / name for part, found in inner for name in found if not found[name].images]
    beside = [sub for sub in _subfolders(folder) if parts != [folder] and sub not in parts]
    odd = [sub for part in {folder, *parts} for sub in _subfolders(part, hidden=True)]
    unread = sum((c.unread for found in listings for c in found.values()), Counter[str]())
    loose = sum(_is_image(file) for part in parts for file in part.iterdir())
    if empty:
        logger.warning(
            "In %s these folders hold no image that is read and are no classes; class indices "
            "count without them: %s.",
            *(spec, _listed(str(sub.relative_to(folder)) for sub in empty)),
        )
    if ignored := [sub.name for sub in beside + odd if _holds_images(sub)]:
        logger.warning("In %s these folders are left out: %s.", spec, _listed(sorted(ignored)))
    if loose:
        logger.warning("In %s images in no class folder are left out: %d.", spec, loose)
    if unread:
        logger.warning(
            "%s files of %s were left out, as their format is not read (%s).",
            *(f"{unread.total():,}", spec, _counts(unread)),
        )


def _classes(part: Path) -> _Classes:
    return {sub.name: _listing(sub) for sub in _subfolders(part)}


def _listing(folder: Path) -> _Listing:
    # By hand: torchvision's ImageFolder follows links and lists nested folders in another order,
    # and sensitivity sets are drawn by position.
    images, unread, readable = [], Counter[str](), readable_suffixes()
    for root, inside, files in os.walk(folder, onerror=_refuse):
        inside[:] = [name for name in inside if not _is_hidden(name)]
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in readable and not name.startswith("."):
                images.append(Path(root, name))
            elif not name.startswith("."):
                unread[suffix or "without suffix"] += 1
    return _Listing(sorted(images), unread)


def _refuse(problem: OSError) -> NoReturn:
    raise problem


def _subfolders(folder: Path, *, hidden: bool = False) -> list[Path]:
    return sorted(
        sub for sub in folder.iterdir() if _is_hidden(sub.name) == hidden and sub.is_dir()
    )


def _holds_classes(folder: Path) -> bool:
    """Whether its images lie in subfolders."""
    return any(map(_holds_images, _subfolders(folder)))


def _holds_images(folder: Path) -> bool:
    return any(_is_image(Path(root, name)) for root, _, files in os.walk(folder) for name in files)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in readable_suffixes() and not file.name.startswith(".")


def _is_hidden(name: str) -> bool:
    """Whether a folder is none of the user's: .git, .ipynb_checkpoints, __MACOSX."""
    return name.startswith((".", "__"))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _counts(unread: Counter[str]) -> str:
    return ", ".join(f"{suffix}: {n:,}" for suffix, n in unread.most_common())
