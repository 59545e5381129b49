"""A certificate for this host that signs itself, for servers of tests."""

import datetime as dt
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tygerd import clock


def make(directory, *names):
    """Certificate and key in one PEM file in `directory` (pathlib), for localhost and `names`; its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    hosts = [x509.DNSName(host) for host in ("localhost", *names)]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(clock.now() - dt.timedelta(days=1))
        .not_valid_after(clock.now() + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([*hosts, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "cert.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return str(path)


def server_context(path):
    """For a server that shows the certificate in `path`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def signed(directory, *names, addresses=(), days=1):
    """A certificate for `names` that an authority has signed: paths of it, of its key and the authority's."""
    authority, host = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority")])
    above = _certificate(issuer, issuer, authority.public_key(), authority, ca=True)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a host")])
    hosts = [x509.DNSName(name) for name in names]
    hosts += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    made = _certificate(subject, issuer, host.public_key(), authority, hosts, days=days)
    files = {
        "host.pem": made.public_bytes(serialization.Encoding.PEM),
        "host.key.pem": host.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "authority.pem": above.public_bytes(serialization.Encoding.PEM),
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return [str(directory / name) for name in files]


def _certificate(subject, issuer, public, signer, hosts=(), *, ca=False, days=1):
    """One that ends in `days`, which may be less than 0."""
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(clock.now() - dt.timedelta(days=5))
    builder = builder.not_valid_after(clock.now() + dt.timedelta(days=days))
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(signer, hashes.SHA256())
