//! Rows about files whose content is elsewhere: LFS, with its program and without, and programs that work as it does.

use crate::content::with_attributes;
use crate::drive::{Row, did_not_run};

/// A filter as `git lfs` is one, a program per file: pointers in the repository, content where `lfs.storage` says.
const FAKE_LFS: &str = r#"cat > ../lfs <<'SH'
#!/bin/sh
store=$(git config --path lfs.storage || true); store=${store:-$(git rev-parse --git-common-dir)/lfs}; mkdir -p "$store"
place() { printf '%s/objects/%.2s/%.2s/%s' "$1" "$2" "${2#??}" "$2"; }
case $1 in
clean) cat > "$store/tmp.$$"; oid=$(sha256sum < "$store/tmp.$$" | cut -d' ' -f1); to=$(place "$store" "$oid")
  mkdir -p "$(dirname "$to")"; mv "$store/tmp.$$" "$to"; printf 'version fake\noid sha256:%s\n' "$oid";;
smudge) oid=$(sed -n 's/^oid sha256://p'); from=$(place "$store" "$oid")
  test -e "$from" || while read -r other; do from=$(place "$other/../lfs" "$oid"); done < "$(git rev-parse --git-common-dir)/objects/info/alternates"
  cat "$from";;
esac
SH
chmod +x ../lfs; git config filter.lfs.clean "$PWD/../lfs clean %f"; git config filter.lfs.smudge "$PWD/../lfs smudge %f"
git config filter.lfs.required true; echo big > big.bin"#;

/// The same over the protocol for one program and many files; its pointers are the content in hexadecimal.
const FAKE_PROCESS: &str = r#"cat > ../lfs <<'PERL'
#!/usr/bin/perl
use strict; use warnings; binmode STDIN; binmode STDOUT; $| = 1;
sub packet { my $n = read(STDIN, my $size, 4); exit 0 unless $n; return undef if hex($size) == 0; read(STDIN, my $data, hex($size) - 4); $data }
sub packets { my @all; while (defined(my $one = packet())) { push @all, $one } @all }
sub say_packets { print sprintf("%04x", length($_) + 4), $_ for @_; print "0000" }
packets(); say_packets("git-filter-server\n", "version=2\n"); packets(); say_packets("capability=clean\n", "capability=smudge\n");
while (1) {
  my %asked = map { chomp; split /=/, $_, 2 } packets(); my $in = join '', packets();
  my $out = $asked{command} eq 'clean' ? "version fake\n" . unpack('H*', $in) . "\n" : pack('H*', (split /\n/, $in)[1]);
  say_packets("status=success\n"); say_packets($out =~ /(.{1,60000})/sg); say_packets();
}
PERL
chmod +x ../lfs; git config filter.lfs.process "$PWD/../lfs"; git config filter.lfs.required true; echo big > big.bin"#;

const ATTRIBUTES: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\\n";

/// Drives, and looks at what landed: pointers that say so in the repository, content in the worktree.
fn drive_with_pointers(row: Row, pointer: &str) {
    let row = row.changing(
        "test \"$(cat big.bin)\" = big; echo more > more.bin; git add more.bin; git commit -qm more; rm more.bin; \
         git checkout -q more.bin; test \"$(cat more.bin)\" = more; echo bigger > big.bin",
    );
    row.drive();
    row.land_and_look(|| {
        assert!(row.git(&["show", "main:more.bin"]).starts_with(pointer), "the repository has pointers");
        for (name, content) in [("more.bin", "more\n"), ("big.bin", "bigger\n")] {
            assert_eq!(
                std::fs::read_to_string(row.repo.join(name)).expect("landed"),
                content,
                "the worktree has content"
            );
        }
    });
}

#[test]
fn lfs_by_file() {
    // The filter of this row is not among the programs that a sandbox shows.
    drive_with_pointers(with_attributes(ATTRIBUTES, FAKE_LFS).unconfined(), "version fake");
}

#[test]
fn lfs_by_process() {
    if Row::make("").try_sh("perl -e 1").code != 0 {
        return did_not_run("lfs_by_process", "there is no perl to play the filter");
    }
    drive_with_pointers(with_attributes(ATTRIBUTES, FAKE_PROCESS).unconfined(), "version fake");
}

#[test]
fn lfs_itself() {
    if Row::make("").try_sh("git lfs version").code != 0 {
        return did_not_run("lfs_itself", "there is no git-lfs here");
    }
    let row = with_attributes(ATTRIBUTES, "git lfs install --skip-repo >/dev/null; echo big > big.bin");
    drive_with_pointers(row, "version https://git-lfs.github.com/spec/v1");
}

#[test]
fn lfs_absent() {
    let row = with_attributes(ATTRIBUTES, FAKE_LFS);
    // Older than the index, the files are not asked about again: the person sees nothing wrong until something is checked out.
    row.sh(
        "cd repo; find . -name .git -prune -o -type f -exec touch -d '1 hour ago' '{}' +; git update-index -q --refresh || true; \
         for way in clean smudge; do git config filter.lfs.$way \"git-lfs-is-not-here $way %f\"; done",
    );
    row.refused(&["new", "w"], 1, "git_failed", "smudge filter lfs failed");
    row.does_not_land(1, "failed", "smudge filter lfs failed");
}

#[test]
fn lfs_not_required() {
    let row = with_attributes("*.bin filter=lfs\\n", ":");
    row.sh("cd repo; printf 'version fake\\n' > big.bin; git add big.bin; git commit -qm big -- big.bin; \
         git config filter.lfs.smudge git-lfs-is-not-here; git config filter.lfs.clean git-lfs-is-not-here");
    row.drive();
}
