from jaxgen.convolution import Conv, UpConv
from jaxgen.nets.convolutional import ConvNet, GatedConvNet
from jaxgen.nets.critics import ResNetCritic
from jaxgen.nets.decoders import ConvDecoder
from jaxgen.nets.encoders import ConvEncoder
from jaxgen.nets.generators import ResNetGenerator
from jaxgen.nets.mlp import MLP, ResidualMLP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.nets.residual import ResNet
