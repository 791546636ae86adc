//! Rows about signed commits: what lands is signed where the person has commits signed, and nobody is waited for.

use crate::drive::{Row, did_not_run};
use crate::places::PLAIN;

/// The plain repository of somebody who has every commit signed by a program of these words.
fn signed_by(script: &str, settings: &str) -> Row {
    let row = Row::make(PLAIN);
    std::fs::write(row.world.path().join("signer"), format!("#!/bin/sh\n{script}\n")).expect("written");
    row.sh("chmod +x signer");
    row.sh(&format!("git config --global commit.gpgSign true; git config --global tag.gpgSign true; {settings}"));
    row
}

/// What gpg says of a signature that it has made, and a signature.
const SIGNS: &str = "cat > /dev/null
echo '[GNUPG:] BEGIN_SIGNING' >&2
echo '[GNUPG:] SIG_CREATED D 1 8 00 1700000000 ABCDEF' >&2
printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nnot a real one\\n-----END PGP SIGNATURE-----\\n'";

/// What gpg says where it cannot ask for the passphrase.
const WOULD_ASK: &str = "cat > /dev/null
test -z \"$GPG_TTY\" || exit 3
echo 'gpg: signing failed: Inappropriate ioctl for device' >&2
exit 2";

fn is_signed(row: &Row) {
    let raw = row.git(&["cat-file", "commit", "main"]);
    assert!(raw.contains("\ngpgsig -----BEGIN"), "what landed is not signed: {raw}");
}

#[test]
fn signed_by_gpg() {
    let row = signed_by(SIGNS, "git config --global gpg.program \"$PWD/signer\"");
    let before = row.look();
    row.land(&before);
    is_signed(&row);
    row.undo(&before);
    row.drive();
}

#[test]
fn signed_by_x509() {
    let row = signed_by(
        &SIGNS.replace("PGP SIGNATURE", "SIGNED MESSAGE"),
        "git config --global gpg.format x509; git config --global gpg.x509.program \"$PWD/signer\"",
    );
    let before = row.look();
    row.land(&before);
    is_signed(&row);
    row.undo(&before);
}

#[test]
fn signed_by_ssh() {
    let row = signed_by("true", "git config --global gpg.format ssh; git config --global user.signingKey \"$PWD/key\"");
    if row.try_sh("ssh-keygen -q -t ed25519 -N '' -f key").code != 0 {
        return did_not_run("signed_by_ssh", "ssh-keygen is not installed");
    }
    row.sh("echo \"tester@example.com $(cat key.pub)\" > allowed; git config --global gpg.ssh.allowedSignersFile \"$PWD/allowed\"");
    let before = row.look();
    row.land(&before);
    row.git(&["verify-commit", "main"]);
    row.undo(&before);
    row.drive();
}

#[test]
fn signed_by_ssh_with_a_relative_key() {
    let row = signed_by("true", "git config --global gpg.format ssh; git config --global user.signingKey keys/nk");
    if row.try_sh("mkdir repo/keys; ssh-keygen -q -t ed25519 -N '' -f repo/keys/nk").code != 0 {
        return did_not_run("signed_by_ssh_with_a_relative_key", "ssh-keygen is not installed");
    }
    row.sh("echo \"tester@example.com $(cat repo/keys/nk.pub)\" > allowed; git config --global gpg.ssh.allowedSignersFile \"$PWD/allowed\"");
    let row = row.from("repo/sub/dir");
    row.land_and_look(|| drop(row.git(&["verify-commit", "main"])));
    row.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo x > x.txt"]).expect(0);
    row.treehand(&["undo", "--revert"]).expect(0);
    row.git(&["verify-commit", "main"]);
}

#[test]
fn signing_key_that_would_ask() {
    let row = signed_by(WOULD_ASK, "git config --global gpg.program \"$PWD/signer\"");
    let run = row.does_not_land(9, "attention", "could not be signed");
    assert_eq!(run["tasks"][0]["state"], "rejected", "{run}");
    // Nothing else of a person's work needs a signature.
    let before = row.look();
    let workspace = row.make_workspace(&before);
    row.remove(&before, &workspace);
}
