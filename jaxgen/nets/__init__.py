"""Networks and layers, channels last."""

from jaxgen.convolution import Conv, TransposedConv, UpConv
from jaxgen.nets.attention import SelfAttention
from jaxgen.nets.augmentation import (
    Affine,
    Brightness,
    Contrast,
    Cutout,
    InstanceNoise,
    Jitter,
    Mirror,
    QuarterTurns,
    Saturation,
    Translation,
)
from jaxgen.nets.conditioning import Concatenate, FiLM, Projection, Unconditional
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.conv1d import Conv1D, ResNet1DCritic, ResNet1DGenerator, ResidualBlocks1D
from jaxgen.nets.conv_net import ConvNet, GatedConvNet
from jaxgen.nets.critics import ResNetCritic
from jaxgen.nets.dcgan import DCGANCritic, DCGANGenerator
from jaxgen.nets.decoders import ConvDecoder, ResidualDecoder
from jaxgen.nets.disco_gan import DiscoGANCritic, DiscoGANGenerator
from jaxgen.nets.edges import BlurredEdges
from jaxgen.nets.encoders import ConvEncoder, ResidualEncoder
from jaxgen.nets.equalized import EqualizedConv, EqualizedDense
from jaxgen.nets.equalized_mlp import EqualizedMLP
from jaxgen.nets.generators import ResNetGenerator
from jaxgen.nets.heads import EventHead, GaussianHead, PositionHead, ScalarHead, SymbolHead, VectorHead
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.joint import Joint
from jaxgen.nets.maxout import Maxout
from jaxgen.nets.minibatch_discrimination import MinibatchDiscrimination
from jaxgen.nets.mlp import MLP, ResidualMLP
from jaxgen.nets.n_gram_critic import NGramCritic
from jaxgen.nets.noisy_mlp import GaussianNoise, NoisyMLP, WeightNormDense
from jaxgen.nets.normalization import BatchNorm, ConditionalBatchNorm, ExampleNorm, GroupNorm, InstanceNorm
from jaxgen.nets.pair_critics import PairCritic, TokenConvTower, TokenRNNTower
from jaxgen.nets.patch_critic import PatchCritic
from jaxgen.nets.pixel_cnn import PixelCNN, sample_codes
from jaxgen.nets.pose import Skeleton, limb_masks, limb_similarities, no_motion, pose_maps
from jaxgen.nets.pose_augmentation import PoseAugmentation
from jaxgen.nets.pose_networks import DirectSynthesis, LimbSynthesis, PoseCritic, PoseUNet, Synthesis
from jaxgen.nets.recurrent import Autoregressive, CausalDecoder, RecurrentDecoder, RecurrentEncoder
from jaxgen.nets.relaxations import GumbelSoftmax, Softmax
from jaxgen.nets.residual import ResNet, ResidualStack
from jaxgen.nets.rrdb import RRDBEncoder
from jaxgen.nets.sagan import SpectralResNetCritic, SpectralResNetGenerator
from jaxgen.nets.seq2seq import AttentionSeq2Seq, BidirectionalEncoder
from jaxgen.nets.single_image import ScaleCritic, ScaleGenerator, ValidConvs
from jaxgen.nets.slimmable import SlimmableTranslator
from jaxgen.nets.spectral import SpectralConv, SpectralDense
from jaxgen.nets.stacked_rnn import ClosedLoopRNN, StackedRNN
from jaxgen.nets.stages import Stages
from jaxgen.nets.strided import StridedConvs, StridedScore
from jaxgen.nets.style import MinibatchDeviation, StyleCritic, StyleGenerator, StyleMapping, StyleSynthesis
from jaxgen.nets.token_critics import SEQGAN_FILTERS, SMALL_FILTERS, TokenConvCritic, TokenRNNCritic
from jaxgen.nets.token_rnn import TokenRNN
from jaxgen.nets.token_sampling import rollout_rewards, rollouts, sample_tokens
from jaxgen.nets.transformer import CausalTransformer, TokenTransformer
from jaxgen.nets.translators import ResNetTranslator
from jaxgen.nets.turn_critic import TurnCritic
from jaxgen.nets.u_net import UNet
from jaxgen.nets.vgg import VGG, VGGDecoder, WithColours, load_vgg, normalize_activations
from jaxgen.nets.vqgan import VQGANDecoder, VQGANEncoder

__all__ = [
    "Affine", "AttentionSeq2Seq", "Autoregressive", "BatchNorm", "BidirectionalEncoder", "BlurredEdges",
    "Brightness", "CausalDecoder", "CausalTransformer", "ClosedLoopRNN", "Concatenate", "ConditionalBatchNorm",
    "Contrast", "Conv", "Conv1D", "ConvDecoder", "ConvEncoder", "ConvNet", "Cutout", "DCGANCritic",
    "DCGANGenerator", "DirectSynthesis", "DiscoGANCritic", "DiscoGANGenerator", "EqualizedConv", "EqualizedDense",
    "EqualizedMLP", "EventHead", "ExampleNorm", "FiLM", "GatedConvNet", "GaussianHead", "GaussianNoise", "GroupNorm",
    "GumbelSoftmax", "InstanceNoise", "InstanceNorm", "Jitter", "Joint", "LimbSynthesis", "MLP", "Maxout",
    "MinibatchDeviation", "MinibatchDiscrimination", "Mirror", "NGramCritic", "NoisyMLP", "PairCritic",
    "PatchCritic", "PixelCNN", "PoseAugmentation", "PoseCritic", "PoseUNet", "PositionHead", "Projection",
    "QuarterTurns", "RRDBEncoder", "RecurrentDecoder", "RecurrentEncoder", "ResNet", "ResNet1DCritic",
    "ResNet1DGenerator", "ResNetCritic", "ResNetGenerator", "ResNetTranslator", "ResidualBlocks1D",
    "ResidualDecoder", "ResidualEncoder", "ResidualMLP", "ResidualStack", "SEQGAN_FILTERS", "SMALL_FILTERS",
    "Saturation", "ScalarHead", "ScaleCritic", "ScaleGenerator", "SelfAttention", "Skeleton", "SlimmableTranslator",
    "Softmax", "SpectralConv", "SpectralDense", "SpectralResNetCritic", "SpectralResNetGenerator", "StackedRNN",
    "Stages", "StridedConvs", "StridedScore", "StyleCritic", "StyleGenerator", "StyleMapping", "StyleSynthesis",
    "SymbolHead", "Synthesis", "TokenConvCritic", "TokenConvTower", "TokenRNN", "TokenRNNCritic", "TokenRNNTower",
    "TokenTransformer", "Translation", "TransposedConv", "TurnCritic", "UNet", "Unconditional", "UpConv", "VGG",
    "VGGDecoder", "VQGANDecoder", "VQGANEncoder", "ValidConvs", "VectorHead", "WeightNormDense", "WithColours",
    "concatenate_context", "limb_masks", "limb_similarities", "load_vgg", "no_motion", "normalize_activations",
    "pose_maps", "rollout_rewards", "rollouts", "sample_codes", "sample_tokens", "small_normal",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
