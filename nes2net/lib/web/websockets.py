"""WebSockets of the server: bounded messages without compression, and clients that must read what they get."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from nes2net.lib.web.http_server import BoundedListener

#: Code with which the connection of a client is closed that is not served now, from RFC 6455.
TRY_LATER = 1013
#: Seconds that sending to a client may take; after that, the client is disconnected.
MAX_SEND_SECONDS = 30.0


class TimedWebSocket(WebSocketsSansIOProtocol):
    """Cuts off clients that do not read what is sent to them, also at the end."""

    timer: asyncio.TimerHandle  # while more is to be sent than the system takes

    def pause_writing(self) -> None:
        super().pause_writing()
        self.timer = self.loop.call_later(MAX_SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.timer.cancel()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # it was refused; otherwise, uvicorn would log an error
        if message.get("code") == TRY_LATER:  # may be cut off for others
            BoundedListener.served.discard(self.transport.get_extra_info("socket")._sock)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(MAX_SEND_SECONDS, self.transport.abort)


#: Settings of :func:`nes2net.lib.web.server.serve` for a server of WebSockets.
SETTINGS: dict[str, Any] = {
    "ws": TimedWebSocket,
    "ws_per_message_deflate": False,  # a few compressed bytes could decompress to gigabytes
    "ws_max_size": 1 << 20,  # bytes of a message
}
