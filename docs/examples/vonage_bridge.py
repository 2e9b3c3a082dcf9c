"""From a WebSocket endpoint of Vonage to nes2net: the call is one channel.

    nes2net listen --serve 7861 --model CKPT.pth
    python vonage_bridge.py 8080

Vonage calls a public address with TLS, so a proxy stands before the bridge:
{"action": "connect", "endpoint": [{"type": "websocket", "uri": "wss://HOST/", "content-type": "audio/l16;rate=8000"}]}
A telephone has 8 kHz; if Vonage resamples, scores change.
"""

import json
import sys
import threading
from contextlib import suppress

from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect
from websockets.sync.server import serve

LISTEN = "ws://127.0.0.1:7861"


def tell(server):
    for line in server:
        print(line, flush=True)  # act on "alarm" here


def call(vonage):
    connected = json.loads(vonage.recv())  # {"event": "websocket:connected", "content-type": "audio/l16;rate=8000", …}
    rate = int(connected["content-type"].rpartition("rate=")[2])
    with connect(LISTEN) as server:
        server.send(json.dumps({"event": "start", "rate": rate, "encoding": "s16le"}))
        lines = threading.Thread(target=tell, args=[server])
        lines.start()
        with suppress(ConnectionClosedError):  # at the end of a call, Vonage closes the connection
            for message in vonage:
                if isinstance(message, bytes):  # texts are events, such as websocket:dtmf
                    server.send(message)
        server.send(json.dumps({"event": "stop"}))
        lines.join()


if __name__ == "__main__":
    with serve(call, "127.0.0.1", int(sys.argv[1])) as server:
        server.serve_forever()
