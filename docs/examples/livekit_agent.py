"""From a LiveKit agent to nes2net: the caller is judged on the way to the agent's speech recognition.

    nes2net listen --serve 7861 --model CKPT.pth
    pip install livekit-agents websockets

Use JudgedAgent in place of livekit.agents.Agent, with AudioInputOptions(sample_rate=48000), the rate of a room: if
LiveKit resamples, scores change.
"""

import asyncio
import json

from livekit.agents import Agent
from websockets.asyncio.client import connect

LISTEN = "ws://127.0.0.1:7861"


async def tell(server):
    async for line in server:
        print(line, flush=True)  # act on "alarm" here


async def judged(audio):
    """Yield each frame, and send it to nes2net."""
    server = None
    async for frame in audio:
        if server is None:
            server = await connect(LISTEN)
            start = {"event": "start", "rate": frame.sample_rate, "encoding": "s16le", "channels": frame.num_channels}
            await server.send(json.dumps(start))
            lines = asyncio.create_task(tell(server))
        await server.send(bytes(frame.data))
        yield frame
    if server is not None:
        await server.send(json.dumps({"event": "stop"}))
        await lines


class JudgedAgent(Agent):
    async def stt_node(self, audio, model_settings):
        async for event in Agent.default.stt_node(self, judged(audio), model_settings):
            yield event
