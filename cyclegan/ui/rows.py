"""A reading on the translate page: four pictures, two sliders, a sentence, files."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.ui import words
from cyclegan.ui.translating import no_way_back, row_looks, slider_looks


class Row:
    """One reading: a heading that folds it, four pictures, a sentence. Builds itself into the current layout."""

    def __init__(
        self, direction: str, info: CheckpointInfo | None, box: dict[str, Any], values: list[Any], say: words.Speaker
    ) -> None:
        self.direction = direction
        looks = [{}] * 4 if info is None else row_looks(info, direction, say)
        sliders = [{}] * 2 if info is None else slider_looks(info, direction, say)
        with gr.Accordion(**box) as self.box:
            self.why = gr.HTML(**({} if info is None else no_way_back(info, direction, say)))
            with gr.Row(elem_classes="pictures") as pictures:
                buttons = ["download", "fullscreen"]
                self.pictures = [
                    gr.Image(value, interactive=False, format="png", buttons=buttons, **look)
                    for value, look in zip(values, looks, strict=False)
                ]
            with gr.Row(elem_classes="sliders", visible=False) as slider_box:
                self.sliders = [
                    gr.ImageSlider(interactive=False, format="png", buttons=["fullscreen"], slider_position=50, **look)
                    for look in sliders
                ]
            self.words = gr.HTML(label="reconstruction error", elem_classes="words")
            self.files = gr.File(
                label=words.label("With their values"), file_count="multiple", interactive=False, visible=False,
                elem_classes="with-values",
            )  # fmt: skip
        self.boxes = [pictures, slider_box]
        self.about = [self.why, *self.pictures, *self.sliders, self.files]
        self.results = [*self.pictures, self.words]

    def describe(self, info: CheckpointInfo | None, say: words.Speaker) -> list[Any]:
        """Return names and visibility for a checkpoint, in the order of `about`."""
        if info is None:
            return [gr.skip()] * len(self.about)
        return [
            gr.HTML(**no_way_back(info, self.direction, say)),
            *(gr.Image(**look) for look in row_looks(info, self.direction, say)),
            *(gr.ImageSlider(**look) for look in slider_looks(info, self.direction, say)),
            gr.File(visible=not info.config.data.plain),
        ]
