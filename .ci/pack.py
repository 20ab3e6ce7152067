"""Pack wheels anew, as small as their format can be: `python .ci/pack.py WHEEL [WHEEL ...]`, after auditwheel.

zopfli looks longer for what zlib packs, and any unpacker reads it. The same content gives the same bytes.
"""

import copy
import os
import sys
import zipfile

from zopfli.zlib import compress


class Zopfli:
    """A compressor as zipfile takes it, which wants the stream alone, without zlib's header and sum."""

    def __init__(self, *_):
        self.content = bytearray()

    def compress(self, piece):
        self.content += piece
        return b""

    def flush(self):
        return compress(bytes(self.content))[2:-4]


zipfile._get_compressor = Zopfli  # zipfile has no door for another one
for wheel in sys.argv[1:]:
    before, part = os.path.getsize(wheel), f"{wheel}.part"
    with zipfile.ZipFile(wheel) as old:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                new.writestr(copy.copy(info), old.read(info), zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(part) as new:
            damaged = [info.filename for info in old.infolist() if old.read(info) != new.read(info.filename)]
    if damaged:
        sys.exit(f"{wheel}: {', '.join(damaged)} would have changed")
    os.replace(part, wheel)
    print(f"{os.path.basename(wheel)}: {before} bytes, now {os.path.getsize(wheel)}")
