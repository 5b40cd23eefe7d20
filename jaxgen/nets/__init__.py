from jaxgen.convolution import Conv, UpConv
from jaxgen.nets.convolutional import ConvNet, GatedConvNet
from jaxgen.nets.critics import ResNetCritic
from jaxgen.nets.decoders import ConvDecoder, ResidualDecoder
from jaxgen.nets.encoders import ConvEncoder, ResidualEncoder
from jaxgen.nets.generators import ResNetGenerator
from jaxgen.nets.joint import Joint
from jaxgen.nets.mlp import MLP, ResidualMLP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.nets.pixel_cnn import PixelCNN, sample_codes
from jaxgen.nets.recurrent import Autoregressive, CausalDecoder, RecurrentDecoder, RecurrentEncoder
from jaxgen.nets.residual import ResNet, ResidualStack
