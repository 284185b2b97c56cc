"""Builds the native modules fast: cythonizes on every core, only what changed, then compiles one variant of the same C.

    python tests/packaging/build.py [release|debug|asan|tsan|fuzz]

`release` lands beside the sources, where a checkout imports it from. The others land in build/VARIANT/lib, which PYTHONPATH puts
in front of the release build, so that one checkout holds them all side by side. PROXYD_DEBUG=1 turns `release` into `debug`, in place.

Why not plain `build_ext --inplace`: setuptools runs Cython on one core and forgets the C headers that a module depends on, so that a
change of shim.h rebuilds nothing; and each variant would run Cython anew. `pip install` still takes that plain way, from the same
table in pyproject.toml.
"""
from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Distribution, Extension

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path("ext")
# Variants that bring a package of test modules of their own, which cimport the sources.
ROOMS = {"fuzz": Path("tests/fuzz"), "tsan": Path("tests/tsan")}


@dataclass(frozen=True, slots=True)
class Variant:
    compile: Sequence[str] = ()
    link: Sequence[str] = ()
    cc: str | None = None


_ASAN = ("-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined")
VARIANTS = {
    "release": Variant(),
    "debug": Variant(compile=("-DPROXYD_DEBUG=1", "-O1")),
    "asan": Variant(compile=("-DPROXYD_DEBUG=1", "-O1", "-g", *_ASAN), link=_ASAN),
    "tsan": Variant(compile=("-O1", "-g", "-fsanitize=thread"), link=("-fsanitize=thread",)),
    "fuzz": Variant(
        compile=("-O1", "-g", "-fsanitize=fuzzer-no-link,address", "-fno-omit-frame-pointer", "-UNDEBUG"),
        link=("-fsanitize=address",),
        cc="clang",
    ),
}


def declared_extensions(variant: Variant) -> Iterator[Extension]:
    """The extensions that pyproject.toml declares, with the variant's flags behind their own."""
    table = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    for entry in table["tool"]["setuptools"]["ext-modules"]:
        options: dict[str, Any] = {key.replace("-", "_"): value for key, value in entry.items()}
        yield build_extension(variant, **options)


def build_extension(variant: Variant, **options: Any) -> Extension:
    options["extra_compile_args"] = [*options.get("extra_compile_args", ()), *variant.compile]
    options["extra_link_args"] = [*options.get("extra_link_args", ()), *variant.link]
    return Extension(**options)


def room_extensions(variant: Variant, room: Path) -> Iterator[Extension]:
    """The modules of a test room: each .pyx in a package directly below it."""
    for source in sorted(room.glob("*/*.pyx")):
        name = f"{source.parent.name}.{source.stem}"
        yield build_extension(variant, name=name, sources=[str(source)], include_dirs=[str(SOURCES)], extra_compile_args=["-O2"])


def drop_stale(lib: Path, state: Path, extensions: Sequence[Extension]) -> None:
    """Remove shared objects whose module is gone or whose compiler flags changed since they were built."""
    flags = {each.name: [each.extra_compile_args, each.extra_link_args, each.libraries, each.define_macros] for each in extensions}
    flags = json.loads(json.dumps(flags))
    known = json.loads(state.read_text()) if state.exists() else {}
    for shared in lib.rglob("*.so"):
        name = ".".join((*shared.relative_to(lib).parts[:-1], shared.name.split(".")[0]))
        if name not in flags or known.get(name, flags[name]) != flags[name]:
            shared.unlink()
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(json.dumps(flags))


def link_sources(lib: Path, roots: Sequence[Path]) -> None:
    """Let the plain Python files of the packages appear beside a variant's shared objects."""
    for stale in lib.rglob("*.py"):
        stale.unlink()
    for root in roots:
        for source in sorted(root.glob("*/**/*.py")):
            target = lib / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve())


def compile_c(extensions: list[Extension], lib: Path, temp: Path, jobs: int) -> None:
    distribution = Distribution({"name": "proxyd", "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp, command.parallel = str(lib), str(temp), jobs
    command.ensure_finalized()
    command.run()


def build(name: str, jobs: int) -> None:
    variant = VARIANTS[name]
    if variant.cc:
        os.environ["CC"] = variant.cc
    work = Path("build") / name
    lib = SOURCES if name == "release" else work / "lib"
    if name == "release" and os.environ.get("PROXYD_DEBUG", "0") not in ("", "0"):
        variant = VARIANTS["debug"]
    roots = [SOURCES, *([ROOMS[name]] if name in ROOMS else ())]
    extensions = [*declared_extensions(variant), *(each for room in roots[1:] for each in room_extensions(variant, room))]
    drop_stale(lib, work / "flags.json", extensions)
    if lib != SOURCES:
        link_sources(lib, roots)
    transpile: Callable[..., list[Extension]] = cythonize    # which has no types
    modules = transpile(extensions, nthreads=jobs, build_dir="build/c", include_path=[str(root) for root in roots], quiet=True)
    compile_c(modules, lib, work / "temp", jobs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("variant", nargs="?", default="release", choices=sorted(VARIANTS))
    parser.add_argument("-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    os.chdir(ROOT)
    build(arguments.variant, arguments.jobs)


if __name__ == "__main__":
    main()
