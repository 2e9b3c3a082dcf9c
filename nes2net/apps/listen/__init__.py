"""Listen to live audio: scores, evidence and alarms while a call goes on.

In reading order: ``channel`` judges the windows of one speaker, ``listening`` reads a source in one
thread and judges in another, ``sources`` are pipes, recordings and the microphone, ``words`` says a
line in words, and ``server`` listens for WebSocket clients.
"""
