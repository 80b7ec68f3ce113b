import pytest

from mer_zoo.compat.dlf import DLF
from mer_zoo.compat.dmd import DMD


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        ("dmd.proj_l.weight", "project.convs.text.weight"),
        ("dmd.proj1_l_low.weight", "shared_heads.text.block.fc1.weight"),
        ("dmd.proj2_v_high.bias", "private_heads.vision.block.fc2.bias"),
        ("dmd.proj2_c.bias", "common_head.block.fc2.bias"),
        ("proj1.weight", "joint.fc1.weight"),
        ("weight_c.weight", "gates.common.weight"),
        ("self_attentions_c_a.layers.1.layer_norms.0.weight", "common.encoders.audio.layers.1.norm0.weight"),
        ("kernel_homo.W_edge.weight", "shared_graph.score.weight"),
        ("kernel_hetero.W_repr.bias", "private_graph.representation.bias"),
    ],
)
def test_names_of_dmd(released: str, ours: str) -> None:
    assert DMD.translate(released) == ours
    assert DMD.reason_to_drop(released) is None


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        ("encoder_s_a.layers.0.self_attn.in_proj_weight", "decouple.private.audio.layers.0.attention.in_proj_weight"),
        ("encoder_c.layer_norm.bias", "decouple.shared.norm.bias"),
        ("trans_l_with_v.layer_norm.bias", "crossmodal.text_from_vision.norm.bias"),
        ("projector_v.weight", "gates.vision.weight"),
        ("out_layer_a_high.bias", "stream_heads.audio.out.bias"),
        ("text_model.model.embeddings.LayerNorm.bias", "text_encoder.model.embeddings.LayerNorm.bias"),
    ],
)
def test_names_of_dlf(released: str, ours: str) -> None:
    assert DLF.translate(released) == ours
    assert DLF.reason_to_drop(released) is None
