"""Login options: what a file holds for both programs that read it. The rest is in test_login.py."""

import pytest

from tyger import errors
from tyger.cli import loginoptions


def test_all_keys(tmp_path):
    file = tmp_path / "l.yml"
    file.write_text(
        "serverUrl: https://h\nservicePrincipal: p\ncertificatePath: c.pem\nproxy: none\n"
        "tlsCaCertificates: os\nport: 7\nallowedClientCIDRs: [10.0.0.0/8]\nlogPath: logs/\n"
    )
    found, directory = loginoptions.read(str(file))
    assert directory == str(tmp_path)
    assert found == loginoptions.Options(
        server_url="https://h",
        service_principal="p",
        certificate_path=str(tmp_path / "c.pem"),
        proxy="none",
        tls_ca_certificates="os",
        port=7,
        allowed_cidrs=["10.0.0.0/8"],
        log_path="logs/",
    )
    loginoptions.check(found, loginoptions.FIELDS)


def test_flags_and_files_are_told_apart():
    asked = loginoptions.Options(server_url="u", github=True)
    with pytest.raises(errors.Problem, match="must be specified with --github") as caught:
        loginoptions.check(asked, loginoptions.FLAGS)
    assert caught.value.kind is errors.USAGE
    with pytest.raises(errors.Problem, match="must be specified when github is used") as caught:
        loginoptions.check(asked, loginoptions.FIELDS)
    assert caught.value.kind is errors.INVALID_INPUT


def test_two_identities():
    for first, second in (("github", "service_principal"), ("github", "managed_identity")):
        asked = loginoptions.Options(**{first: True, second: "x"})
        with pytest.raises(errors.Problem, match=f"{loginoptions.FLAGS[first]} cannot be used with"):
            loginoptions.check(asked, loginoptions.FLAGS)
