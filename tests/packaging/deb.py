"""Builds dist/proxyd_VERSION_ARCH.deb from a built checkout: the modules, the libraries that they take (pip --target), and what config/ has
for Debian and systemd. Nothing but dpkg-deb, objdump and strip is needed.

    python tests/packaging/deb.py [FOLDER]      FOLDER: where the .deb goes, dist/ if left out
"""
from __future__ import annotations

import email.utils
import gzip
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MATERIAL = ROOT / "config" / "debian"
LIBRARY = "usr/lib/proxyd"
SCRIPTS = ("postinst", "prerm", "postrm")
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/proxyd",
    "zsh": "usr/share/zsh/vendor-completions/_proxyd",
    "fish": "usr/share/fish/vendor_completions.d/proxyd.fish",
}


def run(*command: str, cwd: Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True, env=environment()).stdout


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'ext'}"}


def put(root: Path, name: str, data: bytes | str, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)


def add_program(root: Path, project: dict[str, object]) -> None:
    """proxyd, proxyd_ext, and what both import."""
    library = root / LIBRARY
    wanted = project["dependencies"]
    assert isinstance(wanted, list)
    run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:",
        "--target", str(library), *wanted)
    shutil.rmtree(library / "bin", ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__", "*.pyx", "*.pxd", "*.h", "README.md")
    shutil.copytree(ROOT / "proxyd", library / "proxyd", ignore=leave_out)
    shutil.copytree(ROOT / "ext" / "proxyd_ext", library / "proxyd_ext", ignore=leave_out)
    facts = f"{LIBRARY}/proxyd-{project['version']}.dist-info"
    put(root, f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: proxyd\nVersion: {project['version']}\n")
    put(root, f"{facts}/INSTALLER", "dpkg\n")
    for native in natives(root):
        run("strip", "--strip-unneeded", str(native))
        native.chmod(0o644)


def add_material(root: Path, version: str) -> None:
    put(root, "usr/bin/proxyd", (MATERIAL / "launcher").read_bytes(), 0o755)
    put(root, "etc/proxyd/proxyd.yaml", (MATERIAL / "proxyd.yaml").read_bytes())
    put(root, "etc/logrotate.d/proxyd", (MATERIAL / "logrotate").read_bytes())
    for unit in ("proxyd.service", "proxyd.socket"):
        put(root, f"lib/systemd/system/{unit}", (ROOT / "config" / "systemd" / unit).read_bytes())
    for shell, place in COMPLETIONS.items():
        put(root, place, run(sys.executable, "-m", "proxyd", "completion", shell))
    put(root, "usr/share/man/man1/proxyd.1.gz", packed(run(sys.executable, "-m", "proxyd.cli.manpage")))
    documents = "usr/share/doc/proxyd"
    put(root, f"{documents}/copyright", (MATERIAL / "copyright").read_bytes())
    changes = f"proxyd ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the sources.\n\n"
    put(root, f"{documents}/changelog.gz", packed(f"{changes} -- proxyd <dev@proxyd.invalid>  {email.utils.formatdate(stamp())}\n"))
    put(root, f"{documents}/examples/reference.yaml", (ROOT / "config" / "reference.yaml").read_bytes())
    for example in sorted((ROOT / "config" / "examples").glob("*.yaml")):
        put(root, f"{documents}/examples/{example.name}", example.read_bytes())
    put(root, "usr/share/lintian/overrides/proxyd", (MATERIAL / "lintian-overrides").read_bytes())


def add_control(root: Path, version: str, architecture: str) -> None:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024
    values = {"VERSION": version, "ARCH": architecture, "SIZE": str(size), "GLIBC": glibc_wanted(root)}
    text = re.sub(r"@(\w+)@", lambda found: values[found[1]], (MATERIAL / "control").read_text())
    put(root, "DEBIAN/control", text)
    put(root, "DEBIAN/conffiles", (MATERIAL / "conffiles").read_bytes())
    for script in SCRIPTS:
        put(root, f"DEBIAN/{script}", (MATERIAL / script).read_bytes(), 0o755)
    put(root, "DEBIAN/md5sums", digests(root))


def digests(root: Path) -> str:
    """As md5sum prints them, of all but the conffiles, which may be changed."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and "DEBIAN" not in path.parts)
    conffiles = {line.removeprefix("/") for line in (MATERIAL / "conffiles").read_text().split()}
    return run("md5sum", *(name for name in files if name not in conffiles), cwd=root)


def natives(root: Path) -> list[Path]:
    """Our modules, and the libraries that wheels bring along (`libx.so.3`)."""
    return [path for path in root.rglob("*") if ".so" in path.suffixes]


def glibc_wanted(root: Path) -> str:
    """The oldest one that has every symbol that our modules take."""
    numbers = {
        tuple(map(int, found.split(".")))
        for native in natives(root)
        for found in re.findall(r"GLIBC_([\d.]+)", run("objdump", "-T", str(native)))
    }
    return ".".join(map(str, max(numbers)))


def packed(text: str) -> bytes:
    return gzip.compress(text.encode(), 9, mtime=stamp())


def stamp() -> int:
    """SOURCE_DATE_EPOCH, so that the same sources can make the same package."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))


def build(folder: Path) -> Path:
    """The path of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version, architecture = project["version"], run("dpkg", "--print-architecture").strip()
    root = ROOT / "build" / "deb"
    shutil.rmtree(root, ignore_errors=True)
    add_program(root, project)
    add_material(root, version)
    add_control(root, version, architecture)
    for path in root.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / f"proxyd_{version}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(package))
    return package


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"the package is for the Python of Debian 12 (3.11), and this one is {sys.version.split()[0]}")
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"))


if __name__ == "__main__":
    main()
