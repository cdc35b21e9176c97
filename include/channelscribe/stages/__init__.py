"""The programs of the pipeline, one module per stage; `channelscribe.profiles.STAGES` has their order.

Each is called as ``python -m channelscribe.stages.<name> VIDEO_ID [VIDEO_ID ...] --data-root DIR --profile NAME``.
"""
