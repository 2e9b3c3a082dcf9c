"""From Twilio's Media Streams to nes2net: the caller and the callee are judged each by themselves.

    nes2net listen --serve 7861 --model CKPT.pth
    python twilio_bridge.py 8080

Twilio calls a public address with TLS, so a proxy stands before the bridge and checks X-Twilio-Signature:
<Start><Stream url="wss://HOST/" track="both_tracks"/></Start>
"""

import base64
import json
import sys
import threading
from contextlib import ExitStack

from websockets.sync.client import connect
from websockets.sync.server import serve

LISTEN = "ws://127.0.0.1:7861"
JITTER = 60  # ms


class Track:
    def __init__(self, server, name, form):
        self.rate = int(form["sampleRate"])  # of audio/x-mulaw, a byte a sample
        self.sent = 0.0  # ms
        self.server = server
        self.send(event="start", rate=self.rate, encoding="mulaw", names=[name])
        self.lines = threading.Thread(target=self.tell)
        self.lines.start()

    def send(self, **message):
        self.server.send(json.dumps(message))

    def tell(self):
        for line in self.server:
            print(line, flush=True)  # act on "alarm" here

    def hear(self, media):
        missing = int(media["timestamp"]) - self.sent
        if missing > JITTER:
            self.send(event="gap", seconds=missing / 1000)
            self.sent += missing
        audio = base64.b64decode(media["payload"])
        self.server.send(audio)
        self.sent += 1000 * len(audio) / self.rate


def call(twilio):
    tracks = {}
    with ExitStack() as servers:
        for text in twilio:
            message = json.loads(text)
            if message["event"] == "start":
                for name in message["start"]["tracks"]:
                    server = servers.enter_context(connect(LISTEN))
                    tracks[name] = Track(server, name, message["start"]["mediaFormat"])
            elif message["event"] == "media":
                tracks[message["media"]["track"]].hear(message["media"])
            elif message["event"] == "stop":
                break
        for track in tracks.values():
            track.send(event="stop")
            track.lines.join()


if __name__ == "__main__":
    with serve(call, "127.0.0.1", int(sys.argv[1])) as server:
        server.serve_forever()
