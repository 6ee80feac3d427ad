"""How much memory of its own a process takes (Linux).

RssAnon is what counts: pages of files that are mapped can be dropped by the system whenever it wants.
"""

import threading


class Peak:
    """How far this process's own memory grew, looked at a hundred times a second."""

    def __enter__(self) -> "Peak":
        self.before = self.most = anonymous_megabytes()
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    def watch(self) -> None:
        """Until the end."""
        while not self.ended.wait(0.01):
            self.most = max(self.most, anonymous_megabytes())

    def __exit__(self, *failure: object) -> None:
        self.ended.set()
        self.watcher.join()

    @property
    def megabytes(self) -> float:
        """Above what was held before."""
        return self.most - self.before


def anonymous_megabytes() -> float:
    """Memory of this process that is not a page of some file."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024
