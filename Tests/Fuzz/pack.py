"""Makes Corpus/<target>.zip of a corpus that the fuzzer has made small (its option -merge=1):

    python pack.py TARGET FOLDER

Finds, whose names begin with `find-`, stay. The same inputs give the same archive.
"""

import pathlib
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent


def main(target, folder):
    place = HERE / "Corpus" / f"{target}.zip"
    inputs = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
    if place.exists():
        with zipfile.ZipFile(place) as before:
            inputs |= {name: before.read(name) for name in before.namelist() if name.startswith("find-")}
    place.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(inputs.items()):
            # Without a time of its own, so that equal inputs give equal bytes.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    print(f"{place.name}: {len(inputs)} inputs, {place.stat().st_size} bytes")


main(*sys.argv[1:])
