"""The app that the plugin mounts: all of it behind Airflow's login."""

from fastapi import Depends, FastAPI

from channelscribe_airflow.pages import (
    archive,
    assets,
    edits,
    errors,
    guard,
    media,
    pipeline,
    run,
    speakers,
    task,
    transcript,
)
from channelscribe_airflow.pages.headers import SecurityHeaders

# Without pages about itself, which no dependency would guard.
app = FastAPI(
    title="Channelscribe",
    dependencies=[Depends(guard.may_read), Depends(guard.refuse_nul)],
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
)
for module in (assets, archive, transcript, media, speakers, edits, pipeline, run, task):
    app.include_router(module.router)
errors.install(app)
app.add_middleware(SecurityHeaders)
