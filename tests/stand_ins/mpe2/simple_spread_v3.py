"""An environment of three agents in the place of mpe2's."""

from pettingzoo.relay import Relay

parallel_env = Relay
