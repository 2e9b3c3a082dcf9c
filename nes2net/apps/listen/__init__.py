"""Listen to live audio: scores, evidence and alarms while a call goes on.

The modules in reading order: ``channel`` judges the windows of one speaker. ``listening`` reads a
source in one thread, and judges the windows in another thread. ``sources`` opens pipes, recordings
and the microphone. ``words`` writes the lines of results for a terminal, and ``server`` serves
WebSocket clients.
"""
