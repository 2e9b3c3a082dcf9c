"""From a pipecat pipeline to nes2net: put Judge() behind the transport's input.

nes2net listen --serve 7861 --model CKPT.pth
pip install pipecat-ai websockets

For telephone calls, run the pipeline with PipelineParams(audio_in_sample_rate=8000): if pipecat resamples, scores change.
"""

import asyncio
import json

from pipecat.frames.frames import CancelFrame, EndFrame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameProcessor
from websockets.asyncio.client import connect

LISTEN = "ws://127.0.0.1:7861"


class Judge(FrameProcessor):
    """Passes on each frame, and sends audio to nes2net."""

    server = None

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear(frame)
        elif isinstance(frame, EndFrame | CancelFrame) and self.server is not None:
            await self.server.send(json.dumps({"event": "stop"}))
            await self.lines
        await self.push_frame(frame, direction)

    async def hear(self, frame):
        if self.server is None:
            self.server = await connect(LISTEN)
            start = {"event": "start", "rate": frame.sample_rate, "encoding": "s16le", "channels": frame.num_channels}
            await self.server.send(json.dumps(start))
            self.lines = asyncio.create_task(self.tell())
        await self.server.send(frame.audio)

    async def tell(self):
        async for line in self.server:
            print(line, flush=True)  # act on "alarm" here
