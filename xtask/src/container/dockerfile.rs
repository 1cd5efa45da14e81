//! Reads a Dockerfile: the instructions that ours has. What is not known is an error, so that no step is left out.

use crate::Result;

/// What follows a FROM.
#[derive(Debug, Default, PartialEq)]
pub struct Stage {
    /// The image that it begins with.
    pub base: String,
    /// What other stages call it.
    pub name: Option<String>,
    /// In order.
    pub steps: Vec<Step>,
}

/// An instruction.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// A command of the shell.
    Run(String),
    /// Files from another stage, or from the context.
    Copy(Copy),
    /// A variable, for all that follows and for the container.
    Env(String, String),
    /// The folder of what follows.
    Workdir(String),
    /// Whom the container runs as, `uid:gid`.
    User(String),
    /// A folder that outlives the container.
    Volume(String),
    /// What tells whether the container is well: program and arguments.
    Health(Vec<String>),
    /// The container's program and arguments.
    Entrypoint(Vec<String>),
}

/// COPY.
#[derive(Debug, Default, PartialEq)]
pub struct Copy {
    /// The other stage; none for the context.
    pub from: Option<String>,
    /// Whose the files are then, `uid:gid`; as they were where it is absent.
    pub chown: Option<String>,
    /// What is copied.
    pub sources: Vec<String>,
    /// Where it goes.
    pub target: String,
}

/// The stages, of which the last one is the image.
pub fn parse(text: &str) -> Result<Vec<Stage>> {
    let mut stages: Vec<Stage> = Vec::new();
    for line in logical_lines(text) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let rest = rest.trim();
        if word == "FROM" {
            let words: Vec<_> = rest.split_whitespace().collect();
            let (base, name) = match words[..] {
                [base] => (base, None),
                [base, "AS", name] => (base, Some(name.to_owned())),
                _ => return Err(unknown(&line)),
            };
            stages.push(Stage { base: base.to_owned(), name, steps: Vec::new() });
            continue;
        }
        let stage = stages.last_mut().ok_or("the Dockerfile does not begin with FROM")?;
        stage.steps.extend(steps(word, rest).ok_or_else(|| unknown(&line))?);
    }
    Ok(stages)
}

fn unknown(line: &str) -> crate::Error {
    format!("the Dockerfile has an instruction that the test does not know: {line}").into()
}

/// Lines with those that continue them; without comments, which may stand between.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(begin) => open.push_str(begin),
            None => {
                open.push_str(line);
                lines.push(std::mem::take(&mut open));
            }
        }
    }
    lines.push(open);
    lines.retain(|line| !line.trim().is_empty());
    lines
}

fn steps(word: &str, rest: &str) -> Option<Vec<Step>> {
    let one = |step| Some(vec![step]);
    match word {
        "RUN" if !rest.starts_with("--") && !rest.starts_with('[') => one(Step::Run(rest.to_owned())),
        "COPY" => one(Step::Copy(copy(rest)?)),
        "ENV" => rest
            .split_whitespace()
            .map(|pair| pair.split_once('=').map(|(name, value)| Step::Env(name.to_owned(), value.to_owned())))
            .collect(),
        "WORKDIR" => one(Step::Workdir(rest.to_owned())),
        "USER" => one(Step::User(rest.to_owned())),
        "VOLUME" => one(Step::Volume(rest.to_owned())),
        // Documentation, for the container's runtime.
        "EXPOSE" => Some(Vec::new()),
        "HEALTHCHECK" => one(Step::Health(words(rest.split_once("CMD ")?.1)?)),
        "ENTRYPOINT" => one(Step::Entrypoint(words(rest)?)),
        _ => None,
    }
}

fn words(json: &str) -> Option<Vec<String>> {
    serde_json::from_str(json).ok()
}

fn copy(rest: &str) -> Option<Copy> {
    let mut copy = Copy::default();
    for word in rest.split_whitespace() {
        match word.strip_prefix("--").map(|flag| flag.split_once('=')) {
            None => copy.sources.push(word.to_owned()),
            Some(Some(("from", stage))) => copy.from = Some(stage.to_owned()),
            Some(Some(("chown", owner))) => copy.chown = Some(owner.to_owned()),
            Some(_) => return None,
        }
    }
    copy.target = copy.sources.pop().filter(|_| !copy.sources.is_empty())?;
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_their_steps() {
        let text = "# a comment\nFROM debian AS build\nRUN a \\\n # between\n && b\nCOPY --from=x --chown=1:2 /a /b/ /c/\n\n\
                    FROM scratch\nENV A=1 \\\n    B=2\nHEALTHCHECK --interval=3s CMD [\"/gw\", \"health\"]\nEXPOSE 80\n";
        let stages = parse(text).unwrap();
        assert_eq!((stages[0].base.as_str(), stages[0].name.as_deref()), ("debian", Some("build")));
        let run = Step::Run("a  && b".into());
        let copy = Copy {
            from: Some("x".into()),
            chown: Some("1:2".into()),
            sources: vec!["/a".into(), "/b/".into()],
            target: "/c/".into(),
        };
        assert_eq!(stages[0].steps, [run, Step::Copy(copy)]);
        let health = Step::Health(vec!["/gw".into(), "health".into()]);
        assert_eq!(stages[1].steps, [Step::Env("A".into(), "1".into()), Step::Env("B".into(), "2".into()), health]);
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for text in
            ["RUN a", "FROM a\nSHELL [\"sh\"]", "FROM a\nRUN --mount=type=cache b", "FROM a\nCOPY b", "FROM a AS"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
