"""The files of a folder, sorted into images, other sources, and files that are not read."""

import os
from dataclasses import dataclass, field

from ovocr.dataset.layout import FOLDERS, RELATIVE
from ovocr.labelgen.sources.file_kinds import file_kind

# A folder with a manifest and a subfolder of records is a labelled data set, such as an --out inside its own source.
_MANIFEST = RELATIVE.manifest_path.name
RECORDS_FOLDER = RELATIVE.rec_prefix(0).parent.name
# Beside this file, `datasets` keeps the results of earlier calls as cache-*.arrow.
_HUB_MARKER = "dataset_info.json"
# The names of the files that `save_to_disk` wrote last.
HUB_STATE = "state.json"
_HUB_CACHE = ("cache-", "tmp")


@dataclass
class FolderFiles:
    """The files of a folder, by relative path with slashes.

    images: files with an image's suffix. archives: files of the other kinds of sources, except lists. others: number of
    other files. data_sets: folders of labelled data sets. has_lmdb: True if a file of LMDB is among the others.
    """

    images: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    others: int = 0
    data_sets: list[str] = field(default_factory=list)
    has_lmdb: bool = False
    _marked: set[str] = field(default_factory=set)
    _indexes: set[str] = field(default_factory=set)

    def add(self, name: str) -> None:
        """Counts a file. Call ``sort`` after the last one."""
        kind = file_kind(name)
        if kind == "files":
            self.images.append(name)
        elif kind is not None and kind != "list":
            self.archives.append(name)
        elif name.endswith(".idx"):
            self._indexes.add(name)
        else:
            self.others += 1
            folder, _, file = name.rpartition("/")
            self.has_lmdb = self.has_lmdb or file == "data.mdb"
            if file in (_MANIFEST, _HUB_MARKER):
                self._marked.add(f"{folder}/{file}")

    def sort(self) -> None:
        """Sorts the names by their bytes. Leaves out labelled data sets, caches, and the indexes of .rec files."""
        for name in self.archives:
            folder, _, parent = name.rpartition("/")[0].rpartition("/")
            if parent == RECORDS_FOLDER and f"{folder}/{_MANIFEST}" in self._marked and folder not in self.data_sets:
                self.data_sets.append(folder)
        kept = [name for name in self.archives if not self._is_left_out(name)]
        self.others += len(self.archives) - len(kept)
        records = {name.removesuffix(".rec") for name in kept}
        self.others += sum(name.removesuffix(".idx") not in records for name in self._indexes)
        self.archives = sorted(kept, key=os.fsencode)
        self.images.sort(key=os.fsencode)

    @property
    def hub_folders(self) -> list[str]:
        """The folders that ``save_to_disk`` of the package datasets wrote, as relative paths."""
        ends = f"/{_HUB_MARKER}"
        return sorted(name.removesuffix(ends) for name in self._marked if name.endswith(ends))

    def keep_listed(self, folder: str, names: set[str] | None) -> None:
        """Leaves out the .arrow files of a folder that are not among these names. None keeps all."""
        if names is None:
            return
        kept = [
            name
            for name in self.archives
            if name.rpartition("/")[0] != folder or not name.endswith(".arrow") or name.rpartition("/")[2] in names
        ]
        self.others += len(self.archives) - len(kept)
        self.archives = kept

    def _is_left_out(self, name: str) -> bool:
        folder, _, file = name.rpartition("/")
        above, _, parent = folder.rpartition("/")
        if parent in FOLDERS and above in self.data_sets:
            return True
        return file.endswith(".arrow") and file.startswith(_HUB_CACHE) and f"{folder}/{_HUB_MARKER}" in self._marked
