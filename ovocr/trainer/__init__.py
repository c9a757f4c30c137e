"""Training: backbone, Partial FC heads, data, training loop, checkpoints and evaluation.

Imports vocab, processes, views, dataset, pages, recordio and base; never labelgen or an OCR engine.
"""

from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.optim.row_adamw import RowAdamW
from ovocr.trainer.optim.row_sgd import RowSGD

__all__ = ["Backbone", "Margin", "PartialFC", "RowAdamW", "RowSGD"]
