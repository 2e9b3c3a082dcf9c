"""Score the recordings that other programs put into a folder; any number of workers may share the folder.

    python spool_worker.py SPOOL CKPT.pth NAME

A program writes a recording to another folder of the same disk, and renames it to SPOOL/in/RECORDING, whose name
must be new. The answer is SPOOL/done/RECORDING.json, or SPOOL/failed/RECORDING.json with the error; the recording
lies beside it. NAME is the worker's own, and stays the same when the worker is started again. SIGTERM ends the
worker after the recording that it scores.
"""

import json
import signal
import sys
import time
from pathlib import Path

from nes2net import Detector
from nes2net.lib.errors import InputError


class Worker:
    def __init__(self, spool, detector, name):
        self.detector = detector
        self.waiting = spool / "in"
        self.claimed = spool / "claimed" / name
        self.done = spool / "done"
        self.failed = spool / "failed"
        for folder in (self.waiting, self.claimed, self.done, self.failed):
            folder.mkdir(parents=True, exist_ok=True)
        self.is_stopped = False
        for path in self.claimed.iterdir():  # not tried again, because it may be what ended the worker
            self.finish(path, self.failed, {"error": "the worker ended while it scored this recording"})

    def stop(self, *_):
        self.is_stopped = True

    def claim(self):
        for path in sorted(self.waiting.iterdir()):
            try:
                return path.rename(self.claimed / path.name)  # only one worker can do this
            except FileNotFoundError:
                pass
        return None

    def finish(self, path, folder, answer):
        answered = self.done / f"{path.name}.json"
        if not answered.exists():
            unfinished = folder / f".{path.name}.json"
            unfinished.write_text(json.dumps({"file": path.name, **answer}) + "\n")
            answered = unfinished.rename(folder / f"{path.name}.json")
        path.rename(answered.parent / path.name)

    def run(self, wait=1.0):
        while not self.is_stopped:
            path = self.claim()
            if path is None:
                time.sleep(wait)
                continue
            try:
                self.finish(path, self.done, {"score": self.detector.score(path)})
            except InputError as error:
                self.finish(path, self.failed, {"error": str(error)})


if __name__ == "__main__":
    spool, checkpoint, name = sys.argv[1:]
    worker = Worker(Path(spool), Detector.from_pretrained(checkpoint), name)
    signal.signal(signal.SIGTERM, worker.stop)
    worker.run()
