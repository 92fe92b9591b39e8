"""Makes users, rights and topics at the client's Kafka: `python3 -m components.kafka.provision`."""

from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from components.kafka.provision import by_hand, telling
from components.kafka.provision.brokers import Brokers


def once(given: telling.Given, report: telling.Report) -> None:
    """All of it. Raises KafkaException where nobody answers."""
    wanted = given.wanted

    def client(name: str, password: str) -> dict[str, Any]:
        return {
            "bootstrap.servers": wanted["address"],
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": name,
            "sasl.password": password,
            "ssl.ca.location": given.ca,
            "socket.connection.setup.timeout.ms": 5000,
            "log_level": 3,
        }

    brokers = Brokers(AdminClient(client(*given.account_login)), client, report)
    for user in wanted["users"]:
        name, password = given.login(user["name"])
        if user["made"]:
            brokers.user(name, password, given.before(user["name"]), user["secret"])
        elif not brokers.takes(name, password):
            found = "it is not let in with the password of its Secret"
            report.differs(f"user {name}", "a user that the client makes", found, by_hand.user(name, user["secret"]))
        brokers.rights(user, name)
    brokers.topics(wanted["topics"])


if __name__ == "__main__":
    sys.exit(telling.run("kafka", once, (KafkaException, TimeoutError)))
