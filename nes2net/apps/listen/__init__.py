"""Listen to live audio: scores, evidence and alarms while a call goes on.

In reading order: ``channel`` judges the windows of one speaker. ``listening`` reads a source in one
thread, and judges its windows in another. ``sources`` opens pipes, recordings and the microphone.
``words`` writes results for a terminal, and ``server`` serves WebSocket clients.
"""
