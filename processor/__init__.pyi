from processor.api import functions as functions
from processor.api.frame import Frame as Frame
from processor.api.topology import Topology as Topology
from processor.errors import ProcessorError as ProcessorError
from processor.errors import TopologyError as TopologyError
from processor.formats.csv import Csv as Csv
from processor.formats.json import Json as Json
from processor.formats.text import Text as Text
